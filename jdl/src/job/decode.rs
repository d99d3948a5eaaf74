//! From bytes to a text.

use crate::diagnostic::Report;
use crate::syntax::TEXT_BYTES_MAX;

/// The text that bytes stand for; `None` if they are none.
pub(super) fn decode(bytes: &[u8], report: &mut Report) -> Option<String> {
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
