//! From bytes to a text.

use crate::Diagnostic;
use crate::diagnostic::Report;
use crate::syntax::TEXT_BYTES_MAX;

/// The text that bytes stand for of which nothing is known: UTF-8, or Latin-1 (with a warning,
/// the second value). A byte-order mark stays. If `strict`, only UTF-8 will do.
///
/// # Errors
/// Why the bytes are no text: they are binary data, UTF-16, or too many.
pub fn decode(bytes: &[u8], strict: bool) -> Result<(String, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut report = Report::new(strict);
    match decoded(bytes, &mut report) {
        Some(text) if !report.has_errors() => {
            let warnings = report.into_diagnostics(&text);
            Ok((text, warnings))
        }
        _ => Err(report.into_diagnostics("")),
    }
}

fn decoded(bytes: &[u8], report: &mut Report) -> Option<String> {
    if bytes.len() > TEXT_BYTES_MAX {
        let message = format!("the text has {} bytes, too many to be read", bytes.len());
        let help = format!("a description may have {TEXT_BYTES_MAX} bytes");
        report.error_with(None, message, help);
        return None;
    }
    let refuse = |report: &mut Report, what: &str| {
        let help = "save it as plain text in UTF-8";
        report.error_with(None, format!("this is not a text but {what}"), help);
        None
    };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return refuse(report, "UTF-16");
    }
    let is_binary = |b: &&u8| **b < 0x20 && !b"\t\n\r\x0c\x0b\x1a\x1b\x08".contains(b);
    if let Some(byte) = bytes.iter().find(is_binary) {
        return refuse(report, &format!("binary data (byte 0x{byte:02x})"));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text.to_owned()),
        Err(_) => {
            let help = "save it in UTF-8 to be sure of what letters with accents become";
            report.warn(None, "the text is not UTF-8; it is read as Latin-1", help);
            Some(bytes.iter().copied().map(char::from).collect())
        }
    }
}
