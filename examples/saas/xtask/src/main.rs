//! Threadline's commands for the example's models: `cargo xtask --help`.

mod demo;

threadline_xtask::xtask!(saas; demo: demo::run; subject_map: saas::subject_map);
