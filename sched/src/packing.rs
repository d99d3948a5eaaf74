//! What fits where: the room on a pilot, and what a task takes of it.
//!
//! A task takes what it asks for of each of its hosts; of cores as many as are free, if it says
//! that it can use more ([`Needs::cores_max`]); and all that there is, if it asks for whole nodes.
//! Tasks are planned for as they will be served: if each takes as many cores as are free, a pilot
//! is planned for as few of them as will find room there.

use fairway_jdl::Needs;
use fairway_model::{CustomResources, Pilot, Resources};

/// What a task takes of one pilot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Portion {
    pub(crate) resources: Resources,
    pub(crate) custom: CustomResources,
}

impl Portion {
    /// The least that a task takes of each of its hosts.
    pub(crate) fn least(needs: &Needs) -> Self {
        Self {
            resources: needs.resources,
            custom: needs.custom.clone(),
        }
    }

    /// What a task has of the pilot that has its lease, and gave it so many cores; 0 if that is
    /// from a version that knew of nothing but the least.
    pub(crate) fn on_lease(pilot: &Pilot, needs: &Needs, cores: u32) -> Self {
        match cores {
            0 => Self::least(needs),
            _ if needs.whole_node => Room::on(pilot).all(),
            _ => {
                let mut portion = Self::least(needs);
                portion.resources.cores = cores;
                portion
            }
        }
    }

    /// What a task has of a pilot that has a seat of it.
    pub(crate) fn on_seat(pilot: &Pilot, needs: &Needs) -> Self {
        if needs.whole_node {
            Room::on(pilot).all()
        } else {
            Self::least(needs)
        }
    }
}

/// Room on a pilot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) free: Resources,
    pub(crate) custom: CustomResources,
    /// Whether it has a node for itself.
    pub(crate) whole_node: bool,
    /// Whether no task is there.
    pub(crate) empty: bool,
}

impl Room {
    /// Of a pilot without tasks.
    pub(crate) fn on(pilot: &Pilot) -> Self {
        Self {
            free: pilot.resources,
            custom: pilot.custom.clone(),
            whole_node: pilot.whole_node,
            empty: true,
        }
    }

    /// Where nothing fits.
    pub(crate) fn none() -> Self {
        Self {
            free: Resources::default(),
            custom: CustomResources::default(),
            whole_node: false,
            empty: false,
        }
    }

    /// Whether a task fits, or its part on one host.
    pub(crate) fn holds(&self, needs: &Needs) -> bool {
        self.suits(needs) && self.free.holds(needs.resources) && self.custom.holds(&needs.custom)
    }

    fn suits(&self, needs: &Needs) -> bool {
        !needs.whole_node || (self.whole_node && self.empty)
    }

    fn all(&self) -> Portion {
        Portion {
            resources: self.free,
            custom: self.custom.clone(),
        }
    }

    /// What a task that fits gets now.
    pub(crate) fn portion(&self, needs: &Needs) -> Portion {
        if needs.whole_node {
            return self.all();
        }
        let mut portion = Portion::least(needs);
        let most = needs.cores_max.min(self.free.cores);
        portion.resources.cores = most.max(needs.resources.cores);
        portion
    }

    /// Takes a portion out; false if it does not fit, and then nothing is taken.
    pub(crate) fn take(&mut self, resources: Resources, custom: &CustomResources) -> bool {
        let Some(free) = self.free.minus(resources) else {
            return false;
        };
        if !custom.is_empty() {
            let Some(left) = self.custom.minus(custom) else {
                return false;
            };
            self.custom = left;
        }
        (self.free, self.empty) = (free, false);
        true
    }

    /// How many tasks find room, or parts on one host, if they come one after the other.
    pub(crate) fn times(&self, needs: &Needs) -> u64 {
        if needs.whole_node {
            return u64::from(self.holds(needs));
        }
        let per = |free: u64, demand: u64| free.checked_div(demand).unwrap_or(u64::MAX);
        // A task takes a core even if it asks for none: the count stays finite.
        let (least, most) = (needs.resources.cores.max(1), needs.cores_max.max(1));
        let rest = self.free.cores % most;
        let by_cores = u64::from(self.free.cores / most) + u64::from(rest >= least);
        by_cores
            .min(per(self.free.memory_mib, needs.resources.memory_mib))
            .min(per(
                u64::from(self.free.gpus),
                u64::from(needs.resources.gpus),
            ))
            .min(self.custom.times(&needs.custom))
    }

    /// Takes out what so many tasks take, which find room, or what their parts on one host take.
    pub(crate) fn without(&mut self, needs: &Needs, tasks: u64) {
        if tasks == 0 {
            return;
        }
        if needs.whole_node {
            *self = Self::none();
            return;
        }
        let all = |each: u64| each.saturating_mul(tasks);
        let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let cores = number(all(u64::from(needs.cores_max.max(1))));
        let gpus = number(all(u64::from(needs.resources.gpus)));
        let memory_mib = all(needs.resources.memory_mib);
        self.free = Resources {
            cores: self.free.cores.saturating_sub(cores),
            memory_mib: self.free.memory_mib.saturating_sub(memory_mib),
            gpus: self.free.gpus.saturating_sub(gpus),
        };
        self.custom = self.custom.less(&needs.custom, tasks);
        self.empty = false;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fairway_jdl::JobSpec;
    use proptest::prelude::*;

    use super::*;

    fn needs(more: &str) -> Arc<Needs> {
        let (spec, _) = JobSpec::read(&format!("Executable = \"a\"; {more}")).unwrap();
        spec.needs(0)
    }

    fn room(cores: u32, memory_mib: u64, gpus: u32, fpgas: u32) -> Room {
        Room {
            free: Resources {
                cores,
                memory_mib,
                gpus,
            },
            custom: [("fpga".to_owned(), fpgas)].into_iter().collect(),
            whole_node: true,
            empty: true,
        }
    }

    proptest! {
        /// What is planned for in one go is what serving one after the other comes to.
        #[test]
        fn planning_is_serving(
            (cores, memory, gpus, fpgas) in (0..20_u32, 0..20_u64, 0..4_u32, 0..4_u32),
            (least, more, own_memory, own_gpus, own_fpgas) in
                (1..5_u32, 0..5_u32, 0..5_u64, 0..2_u32, 0..3_u32),
            whole in prop::bool::weighted(0.2),
        ) {
            let memory_clause = match own_memory {
                0 => String::new(),
                mib => format!("Memory = {mib};"),
            };
            let needs = needs(&format!(
                "MinNumberOfProcessors = {least}; MaxNumberOfProcessors = {}; {memory_clause} \
                 GPUNumber = {own_gpus}; WholeNode = {whole}; \
                 CustomResources = [ fpga = {own_fpgas} ];",
                least + more,
            ));
            let mut served = room(cores, memory, gpus, fpgas);
            let planned = served.clone();
            let mut tasks = 0;
            while served.holds(&needs) {
                let portion = served.portion(&needs);
                prop_assert!(served.take(portion.resources, &portion.custom));
                tasks += 1;
            }
            prop_assert_eq!(planned.times(&needs), tasks);
            let mut left = planned;
            left.without(&needs, tasks);
            prop_assert_eq!(left.free, served.free);
            prop_assert_eq!(left.custom, served.custom);
        }
    }

    #[test]
    fn a_range_takes_what_is_free() {
        let needs = needs("MinNumberOfProcessors = 2; MaxNumberOfProcessors = 6;");
        let mut room = room(9, 0, 0, 0);
        let portion = room.portion(&needs);
        assert_eq!(portion.resources.cores, 6);
        assert!(room.take(portion.resources, &portion.custom));
        assert_eq!(room.portion(&needs).resources.cores, 3);
    }
}
