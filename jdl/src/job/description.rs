//! One ad that makes tasks: a job, or a node of a compound job.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use fairway_model::TaskId;
use indexmap::IndexSet;
use serde_json::{Map, Value as Json};

use super::attributes;
use super::dialect::{has_percent_mark, holds_text};
use super::parameters::{ALIEN_MARK, GLITE_MARK, Parameters, Placeholders};
use super::task::Builder;
use super::values::Values;
use super::variation::Variation;
use super::{Dialect, INPUTS_MAX, InputName, Needs, TaskSpec, lower, needs, schema};
use crate::Ad;
use crate::diagnostic::Report;
use crate::syntax::Span;

/// A checked ad. It stays one value however many tasks it makes.
#[derive(Clone, Debug)]
pub(super) struct Description {
    ad: Ad,
    /// The first task, without what only one task has.
    first: TaskSpec,
    /// The inputs of the first task that are elsewhere.
    remote: Vec<String>,
    /// What differs from task to task.
    variation: Option<Box<Variation>>,
}

/// An ad that is to be checked.
pub(super) struct Draft {
    pub(super) dialect: Dialect,
    pub(super) ad: Ad,
    pub(super) parameters: Option<Parameters>,
    /// What could not be read of the text may be what is missing here.
    pub(super) broken: bool,
    /// Where the ad stands, if it is a part of the text.
    pub(super) place: Option<Span>,
}

impl Draft {
    /// Checks everything, also after errors, so that all are told at once; `None` after
    /// an error.
    pub(super) fn check(self, report: &mut Report) -> Option<Description> {
        let marked = self.marked();
        let first_ad = self.first(&marked);
        let mut lowered = lower::lower(&first_ad, report);
        if self.broken {
            lowered.entry("Executable").or_insert_with(lower::unread);
        }
        let lowered = Json::Object(lowered);
        schema::check(&lowered, &first_ad, self.place, report);
        let Json::Object(lowered) = lowered else {
            return None;
        };
        let (first, remote) = self.first_task(&first_ad, &lowered, report);
        if report.has_errors() {
            return None;
        }
        let varies = self.parameters.is_some() || !marked.is_empty();
        let variation = varies.then(|| {
            Box::new(Variation::new(
                self.dialect,
                &self.ad,
                lowered,
                marked,
                self.parameters,
            ))
        });
        let description = Description {
            ad: self.ad,
            first,
            remote,
            variation,
        };
        if let Some(variation) = &description.variation {
            variation.check(&description.ad, self.place, report);
        }
        Some(description)
    }

    /// The ad of the first task.
    fn first(&self, marked: &BTreeSet<String>) -> Ad {
        let placeholders = Placeholders::new(self.dialect, self.parameters.as_ref());
        let bindings = placeholders.bindings(0, None);
        let mut first = self.ad.clone();
        for name in marked {
            if let Some(expr) = self.ad.get(name) {
                first.replace(name, bindings.fill(expr));
            }
        }
        first
    }

    fn first_task(
        &self,
        ad: &Ad,
        lowered: &Map<String, Json>,
        report: &mut Report,
    ) -> (TaskSpec, Vec<String>) {
        let mut builder = Builder {
            dialect: self.dialect,
            values: Values {
                lowered,
                varied: Vec::new(),
                ad,
            },
            report,
        };
        builder.check_together();
        let needs = Arc::new(builder.needs());
        builder.task(needs)
    }

    /// The attributes (in lower case) that hold placeholders.
    fn marked(&self) -> BTreeSet<String> {
        let parametric = self.parameters.is_some();
        let test = |text: &str| match self.dialect {
            Dialect::Glite => parametric && text.contains(GLITE_MARK),
            Dialect::Alien => parametric && text.contains(ALIEN_MARK),
            Dialect::Dirac if parametric => has_percent_mark(text),
            Dialect::Dirac => text.contains("%j"),
        };
        self.ad
            .iter()
            .filter(|(_, expr)| holds_text(expr, &test))
            .map(|(name, _)| name.to_ascii_lowercase())
            .collect()
    }
}

impl Description {
    pub(super) fn ad(&self) -> &Ad {
        &self.ad
    }

    /// How many tasks it makes; at least 1.
    pub(super) fn task_count(&self) -> u32 {
        self.variation.as_ref().map_or(1, |it| it.task_count())
    }

    /// The needs, if they are those of all its tasks.
    pub(super) fn uniform_needs(&self) -> Option<&Arc<Needs>> {
        let differ = self.variation.as_ref().is_some_and(|it| it.needs_differ());
        (!differ).then_some(&self.first.needs)
    }

    /// Takes an equal value that others have too.
    pub(super) fn share_needs(&mut self, needs: Arc<Needs>) {
        self.first.needs = needs;
    }

    /// What the task `index` of this description needs of a site.
    pub(super) fn needs(&self, index: u32) -> Arc<Needs> {
        match &self.variation {
            Some(variation) if variation.needs_differ() => {
                Arc::new(variation.needs(&self.ad, index))
            }
            _ => Arc::clone(&self.first.needs),
        }
    }

    /// The task `index` of this description, which is `id` in its job.
    pub(super) fn task(&self, index: u32, id: TaskId) -> TaskSpec {
        match &self.variation {
            Some(variation) => variation.task(&self.ad, &self.first, self.needs(index), index, id),
            None => self.first.clone(),
        }
    }

    /// Adds every file that some task's InputSandbox names and its submitter has.
    pub(super) fn inputs(&self, inputs: &mut IndexSet<InputName>) {
        inputs.extend(self.first.inputs.iter().cloned());
        if let Some(variation) = &self.variation {
            variation.each_sandbox(&self.ad, |sandbox| {
                inputs.extend(sandbox.local);
                inputs.len() <= INPUTS_MAX
            });
        }
    }

    /// Adds every file that some task's InputSandbox names and that is elsewhere.
    pub(super) fn remote_inputs(&self, inputs: &mut IndexSet<String>) {
        inputs.extend(self.remote.iter().cloned());
        if let Some(variation) = &self.variation {
            variation.each_sandbox(&self.ad, |sandbox| {
                inputs.extend(sandbox.absent);
                inputs.len() <= INPUTS_MAX
            });
        }
    }
}

/// The known attributes that hold a placeholder, or refer to one that does.
pub(super) fn varying(
    ad: &Ad,
    marked: &BTreeSet<String>,
) -> impl Iterator<Item = &'static attributes::Attribute> {
    attributes::all().filter(|attribute| depends_on(ad, attribute.name, marked))
}

fn depends_on(ad: &Ad, name: &str, marked: &BTreeSet<String>) -> bool {
    if marked.is_empty() {
        return false;
    }
    let mut seen = HashSet::new();
    let mut open = vec![name.to_ascii_lowercase()];
    while let Some(name) = open.pop() {
        let Some(expr) = ad.find(&name) else { continue };
        if marked.contains(&name) {
            return true;
        }
        if seen.insert(name) {
            open.extend(needs::names(expr, ad));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use fairway_model::JobId;
    use proptest::prelude::*;

    use super::*;
    use crate::JobSpec;

    fn text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("_PARAM_"),
            Just("%s"),
            Just("%(x)s"),
            Just("%n"),
            Just("%j"),
            Just("a"),
            Just(" "),
            Just("/"),
            Just("./"),
            Just("="),
            Just("A="),
            Just("'"),
            Just("#alien_counter_03i#"),
            Just("\u{100000}"),
            Just("."),
        ];
        proptest::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_is_made_from_templates_is_what_its_attributes_say(
            texts in proptest::collection::vec(text(), 6),
            values in proptest::collection::vec("[ab ./'=]{0,3}", 1..4),
            kind in 0..3,
        ) {
            let listed: Vec<String> = values.iter().map(|it| format!("\"{it}\"")).collect();
            let listed = listed.join(", ");
            let parameters = match kind {
                0 => format!("JobType = \"Parametric\"; Parameters = {{ {listed} }};"),
                1 => format!("JobGroup = \"g\"; Parameters = {{ {listed} }}; Parameters.x = {{ {listed} }};"),
                _ => "Split = \"production:9-11\"; TTL = 7;".to_owned(),
            };
            let text = format!(
                "{parameters} Executable = \"a{}\"; Arguments = \"{}\"; StdOutput = \"{}\"; \
                 StdError = \"e{}\"; OutputSandbox = {{ \"o\", \"{}\", \"./o\" }}; \
                 Environment = {{ \"A=0\", \"B{}\" }};",
                texts[0], texts[1], texts[2], texts[3], texts[4], texts[5],
            );
            let Ok((spec, _)) = JobSpec::read(&text) else { return Ok(()) };
            let description = &spec.descriptions[0];
            let Some(variation) = &description.variation else { return Ok(()) };
            let plain = variation.without_templates();
            for index in 0..spec.task_count() {
                let id = TaskId::new(JobId(3), index);
                let task = description.task(index, id);
                let (ad, first) = (&description.ad, &description.first);
                let expected = plain.task(ad, first, Arc::clone(&first.needs), index, id);
                prop_assert_eq!(task, expected);
            }
        }
    }
}
