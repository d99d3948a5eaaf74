//! Background work that brings the world in line with the state.
