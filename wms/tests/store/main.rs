//! The store, on SQLite and on PostgreSQL: every test of [`on_both!`] runs on each.
//!
//! PostgreSQL is named by `FAIRWAY_TEST_POSTGRES` (`cargo xtask test` starts one and sets it).

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says so when it is left out"
)]

mod bed;
mod commit;
mod faults;
mod lead;
mod ledger;
mod pages;
mod schema;
mod single;

/// Makes of each `async fn test(bed: &Bed)` a test on SQLite and one on PostgreSQL.
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let bed = crate::bed::Bed::sqlite();
                    super::$test(&bed).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let Some(bed) = crate::bed::Bed::postgres().await else {
                        return;
                    };
                    super::$test(&bed).await;
                    bed.drop_schema().await;
                }
            )*
        }
    };
}

pub(crate) use on_both;
