//! A site's description in a file.

use std::path::Path;

use fairway_model::Site;

use crate::exit::Failure;

/// Reads the site that a file describes.
pub(in crate::commands) fn site(path: &Path) -> Result<Site, Failure> {
    let text =
        std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
    parse(&text).map_err(|why| {
        Failure::Refused(format!(
            "{} is not a site's description\n{why}",
            path.display()
        ))
    })
}

/// The site, or what is wrong and where.
fn parse(text: &str) -> Result<Site, String> {
    let mut table: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
    if table.contains_key("sites") {
        return Err(
            "it is a configuration of the server: put what stands in one [[sites]] into a \
                    file of its own, without that heading (and [[sites.ces]] as [[ces]])"
                .to_owned(),
        );
    }
    table
        .iter_mut()
        .for_each(|(_, value)| moments_as_text(value));
    serde_path_to_error::deserialize(toml::Value::Table(table)).map_err(|error| {
        let place = error.path().to_string();
        // Its own text would name the place once more.
        let what = error.inner().message();
        match place.as_str() {
            "." => what.to_owned(),
            place => format!("{place}: {what}"),
        }
    })
}

/// TOML has moments of its own; descriptions have them as texts in the same form.
fn moments_as_text(value: &mut toml::Value) {
    match value {
        toml::Value::Datetime(moment) => *value = toml::Value::String(moment.to_string()),
        toml::Value::Array(values) => values.iter_mut().for_each(moments_as_text),
        toml::Value::Table(table) => {
            table
                .iter_mut()
                .for_each(|(_, value)| moments_as_text(value));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_read() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/sites");
        let mut read = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            site(&entry.unwrap().path()).unwrap();
            read += 1;
        }
        assert!(read >= 9, "only {read} examples");
    }

    #[test]
    fn moments_may_stand_without_quotes() {
        let text = "name = \"a\"\nadapter = { kind = \"local\" }\nces = [{ name = \"b\" }]\n\
                    [[maintenance]]\nfrom = 2026-12-01T08:00:00Z\nto = 2026-12-01 09:00:00+01:00\n";
        let site = parse(text).unwrap();
        assert_eq!(site.maintenance[0].from, site.maintenance[0].to);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let mut told = String::new();
        for text in [
            "name = \"a\"\nname = \"b\"",
            "[[sites]]\nname = \"a\"",
            "name = \"a b\"\nadapter = { kind = \"local\" }\nces = []",
            "name = \"a\"\nadapter = { kind = \"local\" }\nces = []\nqueues = 1",
            "name = \"a\"\nadapter = { kind = \"lsf\" }\nces = []",
            "name = \"a\"\nadapter = { kind = \"slurm\", binn_dir = \"/x\" }\nces = []",
            "name = \"a\"\nadapter = { kind = \"local\" }\nces = [{ name = \"b\", shape = { core = 1 } }]",
            "name = \"a\"\nadapter = { kind = \"local\" }\nces = [{ name = \"b\", shape = { cores = -1 } }]",
            "name = \"a\"\nadapter = { kind = \"local\" }\nces = []\nmaintenance = [{ from = 2026-12-01, to = 1 }]",
            "name = \"a\"\nces = []",
        ] {
            told += &format!("# {text}\n{}\n\n", parse(text).unwrap_err());
        }
        insta::assert_snapshot!(told);
    }
}
