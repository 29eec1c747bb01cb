//! The engine of vidmm: table, arena, credit and agent of one process.
