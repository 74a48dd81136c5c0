#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod checkpoint;
pub mod digest;
pub mod field;
pub mod file;
pub mod inclusion;
pub mod instant;
pub mod key;
pub mod note;
pub mod proof;
pub mod record;
pub mod sealed_line;
pub mod tile_builder;
pub mod tiles;
pub mod tree;
pub mod verify;
