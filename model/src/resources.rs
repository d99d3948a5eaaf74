//! Amounts of computing resources. Integers only: sums and comparisons are
//! exact, on every machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a task asks for, or what a pilot has to give.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
)]
pub struct Resources {
    /// Processor cores.
    pub cores: u32,
    /// Memory in MiB. As a demand, 0 means "none asked for": the task takes what there is.
    #[serde(default)]
    pub memory_mib: u64,
    /// GPUs.
    #[serde(default)]
    pub gpus: u32,
}

impl Resources {
    /// Whether `demand` fits into this amount, in every dimension.
    pub fn holds(self, demand: Self) -> bool {
        demand.cores <= self.cores
            && demand.memory_mib <= self.memory_mib
            && demand.gpus <= self.gpus
    }

    /// What remains after `demand` is taken out, or `None` if it does not fit.
    #[must_use]
    pub fn minus(self, demand: Self) -> Option<Self> {
        Some(Self {
            cores: self.cores.checked_sub(demand.cores)?,
            memory_mib: self.memory_mib.checked_sub(demand.memory_mib)?,
            gpus: self.gpus.checked_sub(demand.gpus)?,
        })
    }

    /// This amount and `other` together (saturating).
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            cores: self.cores.saturating_add(other.cores),
            memory_mib: self.memory_mib.saturating_add(other.memory_mib),
            gpus: self.gpus.saturating_add(other.gpus),
        }
    }

    /// So many times as much (saturating).
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self {
            cores: self.cores.saturating_mul(times),
            memory_mib: self.memory_mib.saturating_mul(times.into()),
            gpus: self.gpus.saturating_mul(times),
        }
    }
}

/// Resources that only the sites and their users know the meaning of, such as FPGAs or licences:
/// how many of each, by name. Names do not distinguish case and are kept in lower case; what
/// there is none of is left out. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, u32>", into = "BTreeMap<String, u32>")]
pub struct CustomResources(Option<Arc<BTreeMap<String, u32>>>);

impl CustomResources {
    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many there are of that name.
    pub fn get(&self, name: &str) -> u32 {
        let map = self.0.as_deref();
        map.and_then(|map| map.get(name)).copied().unwrap_or(0)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        let all = self.0.as_deref().into_iter().flatten();
        all.map(|(name, amount)| (name.as_str(), *amount))
    }

    /// Whether `demand` fits into this amount, in every name.
    pub fn holds(&self, demand: &Self) -> bool {
        demand.iter().all(|(name, asked)| asked <= self.get(name))
    }

    /// What remains after `demand` is taken out, or `None` if it does not fit.
    #[must_use]
    pub fn minus(&self, demand: &Self) -> Option<Self> {
        self.holds(demand).then(|| self.less(demand, 1))
    }

    /// What remains after `demand` is taken out so many times, and nothing of what that exceeds.
    #[must_use]
    pub fn less(&self, demand: &Self, times: u64) -> Self {
        if demand.is_empty() {
            return self.clone();
        }
        let times = u32::try_from(times).unwrap_or(u32::MAX);
        let left = |name, has: u32| has.saturating_sub(demand.get(name).saturating_mul(times));
        self.iter()
            .map(|(name, has)| (name.to_owned(), left(name, has)))
            .collect()
    }

    /// How often `demand` fits into this amount; `u64::MAX` if nothing is asked for.
    pub fn times(&self, demand: &Self) -> u64 {
        let each = demand
            .iter()
            .map(|(name, asked)| u64::from(self.get(name) / asked));
        each.min().unwrap_or(u64::MAX)
    }
}

impl FromIterator<(String, u32)> for CustomResources {
    fn from_iter<I: IntoIterator<Item = (String, u32)>>(amounts: I) -> Self {
        let map: BTreeMap<String, u32> = amounts
            .into_iter()
            .filter(|(_, amount)| *amount > 0)
            .map(|(name, amount)| (name.to_ascii_lowercase(), amount))
            .collect();
        Self((!map.is_empty()).then(|| Arc::new(map)))
    }
}

impl From<BTreeMap<String, u32>> for CustomResources {
    fn from(amounts: BTreeMap<String, u32>) -> Self {
        amounts.into_iter().collect()
    }
}

impl From<CustomResources> for BTreeMap<String, u32> {
    fn from(custom: CustomResources) -> Self {
        let all = custom.iter();
        all.map(|(name, amount)| (name.to_owned(), amount))
            .collect()
    }
}

impl std::fmt::Display for CustomResources {
    /// `fpga=1 licence_x=2`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, (name, amount)) in self.iter().enumerate() {
            let gap = if place > 0 { " " } else { "" };
            write!(f, "{gap}{name}={amount}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn custom(json: &str) -> CustomResources {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_there_is_none_of_is_as_if_it_were_not_named() {
        assert_eq!(custom(r#"{"fpga": 0}"#), CustomResources::default());
        assert!(custom("{}").holds(&custom(r#"{"FPGA": 0}"#)));
    }

    #[test]
    fn amounts_are_taken_by_name_in_any_case() {
        let has = custom(r#"{"FPGA": 5, "licence_x": 2}"#);
        let asked = custom(r#"{"fpga": 2}"#);
        assert_eq!(has.times(&asked), 2);
        assert_eq!(has.minus(&asked).unwrap().to_string(), "fpga=3 licence_x=2");
        assert_eq!(has.less(&asked, 3).to_string(), "licence_x=2");
        assert!(!has.holds(&custom(r#"{"fpga": 2, "tape": 1}"#)));
    }
}
