//! `fairway jdl eval`

use std::io::{BufRead as _, BufWriter, Write as _};
use std::path::PathBuf;

use fairway_jdl::{Ad, Diagnostic, Expr, Value};
use serde::Serialize;

use super::ads;
use crate::exit::Failure;
use crate::screen;

/// The attribute that `time()` and its like look at: an evaluation reads no clock.
const CURRENT_TIME: &str = "CurrentTime";

/// Print what an expression of the ClassAd language is worth
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fairway jdl eval '2 + 3 * 4'
  fairway jdl eval 'Rank' --ad job.jdl --target site.json
  printf '1/0\\nsize({1, 2})\\n' | fairway jdl eval --lines

Values are printed as HTCondor's library prints them. The present is the ad's CurrentTime (seconds
since 1970), which is set from this machine's clock if the ad has none.")]
pub(crate) struct Eval {
    /// The expression
    #[arg(
        required_unless_present = "lines",
        conflicts_with = "lines",
        value_name = "EXPR"
    )]
    expression: Option<String>,
    /// Read one expression a line from standard input, and print one value a line.
    /// What is no expression is worth `error`, and told on stderr
    #[arg(long)]
    lines: bool,
    /// The ad that names are looked up in (`my`): JDL, ClassAd or JSON
    #[arg(long, value_name = "FILE")]
    ad: Option<PathBuf>,
    /// The ad on the other side (`other`, `target`)
    #[arg(long, value_name = "FILE")]
    target: Option<PathBuf>,
    /// Write JSON with the type of the value: one object a line
    #[arg(long)]
    json: bool,
}

/// A value as it is told to programs.
#[derive(Serialize)]
struct Told {
    value: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl Eval {
    pub(super) fn run(self) -> Result<(), Failure> {
        let ad = |path: &Option<PathBuf>| path.as_deref().map(ads::read).transpose();
        let mut my = ad(&self.ad)?.unwrap_or_default();
        if my.get(CURRENT_TIME).is_none() {
            my.insert(CURRENT_TIME, crate::commands::now().0 / 1000);
        }
        let target = ad(&self.target)?;
        match &self.expression {
            Some(text) => {
                let expr = Expr::parse(text)
                    .map_err(|diagnostics| Failure::Refused(rendered(&diagnostics)))?;
                let value = fairway_jdl::eval(&expr, &my, target.as_ref());
                screen::write(&format!("{}\n", self.told(&value)?))
            }
            None => self.lines(&my, target.as_ref()),
        }
    }

    fn lines(&self, my: &Ad, target: Option<&Ad>) -> Result<(), Failure> {
        let mut out = BufWriter::new(std::io::stdout().lock());
        let mut refused = 0_u64;
        for (number, line) in std::io::stdin().lock().lines().enumerate() {
            let line = line.map_err(|error| {
                Failure::Local(format!("cannot read line {}: {error}", number + 1))
            })?;
            let value = match Expr::parse(&line) {
                Ok(expr) => fairway_jdl::eval(&expr, my, target),
                Err(diagnostics) => {
                    refused += 1;
                    let rendered = rendered(&diagnostics);
                    screen::remark(&format!("expression {}: {rendered}", number + 1));
                    Value::Error
                }
            };
            writeln!(out, "{}", self.told(&value)?)?;
        }
        out.flush()?;
        if refused == 0 {
            return Ok(());
        }
        Err(Failure::Refused(format!(
            "{} could not be read",
            crate::render::words::count(refused, "expression")
        )))
    }

    fn told(&self, value: &Value) -> Result<String, Failure> {
        if !self.json {
            return Ok(value.unparse());
        }
        let told = Told {
            value: value.unparse(),
            kind: value.type_name(),
        };
        serde_json::to_string(&told).map_err(|error| Failure::Local(error.to_string()))
    }
}

fn rendered(diagnostics: &[Diagnostic]) -> String {
    let rendered: Vec<_> = diagnostics.iter().map(|it| it.rendered.as_str()).collect();
    rendered.join("\n\n")
}
