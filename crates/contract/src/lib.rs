//! The contract of vidmm as named cases that every face must pass.
