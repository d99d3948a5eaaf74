//! Why a task is where it is.
