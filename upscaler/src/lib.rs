//! Networks that make pictures larger: RRDBNet, the generator of ESRGAN (Wang et al.,
//! arXiv:1809.00219), of Real-ESRGAN (arXiv:2107.10833) and of the many checkpoints that people
//! trained with either.

mod blocks;
mod config;
mod naming;
mod rrdb_net;

pub use config::RrdbNetConfig;
pub use naming::RrdbNaming;
pub use rrdb_net::RrdbNet;
