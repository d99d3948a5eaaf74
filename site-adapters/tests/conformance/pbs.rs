//! What is PBS's own: arrays, allocations of several nodes, listings that somebody spoilt, and a
//! history that is off.
