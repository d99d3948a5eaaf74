//! The changes of the policy in the ledger, the latest first.

use fairway_api::public::{Page, PolicyHistoryQuery};
use fairway_model::{Event, EventKind};
use sea_orm::{
    ColumnTrait as _, DatabaseConnection, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::super::StoreError;
use super::super::entity::event::{Column, Entity};

/// The one order of this list.
const ORDER: &str = "-seq";

/// How the bodies of these events begin.
const BODY: &str = "{\"event\":\"policy-changed\"";

/// A change of the policy, with the policy before it.
#[derive(Clone, Debug)]
pub struct PolicyEvent {
    /// The event.
    pub event: Event,
    /// The policy before, as JSON, as the event before has it; `None` of the first.
    pub before: Option<String>,
}

pub(crate) async fn page(
    db: &DatabaseConnection,
    query: &PolicyHistoryQuery,
) -> Result<Page<PolicyEvent>, StoreError> {
    let limit = super::limit(query.limit)?;
    // Found by the index of events that are about neither a job nor a pilot.
    let mut select = Entity::find()
        .filter(Column::JobId.is_null())
        .filter(Column::PilotId.is_null())
        .filter(Column::Body.starts_with(BODY));
    if let Some([seq]) = super::key(query.cursor.as_deref(), ORDER)? {
        select = select.filter(Column::Seq.lt(seq));
    }
    // The one row more tells what was before the last one on the page.
    let rows = select
        .order_by_desc(Column::Seq)
        .limit(limit + 1)
        .all(db)
        .await?;
    let next_seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
    let events: Vec<Event> = rows
        .into_iter()
        .map(Event::try_from)
        .collect::<Result<_, _>>()?;
    let policies = events.iter().skip(1).map(policy_of).chain([None]);
    let pairs: Vec<_> = next_seqs
        .into_iter()
        .zip(events.iter().cloned().zip(policies))
        .collect();
    super::page(
        pairs,
        limit,
        |(seq, _)| super::cursor(ORDER, &[*seq]),
        |pairs| {
            let item = |(_, (event, before))| PolicyEvent { event, before };
            Ok(pairs.into_iter().map(item).collect())
        },
    )
}

fn policy_of(event: &Event) -> Option<String> {
    match &event.kind {
        EventKind::PolicyChanged { policy, .. } => Some(policy.clone()),
        _ => None,
    }
}
