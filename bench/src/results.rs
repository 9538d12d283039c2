//! The results of a run.

use serde::Serialize;

use crate::candidates::Size;
use crate::iterations::{Cold, Warm};
use crate::load::Load;
use crate::parts::Part;
use crate::primitives::Primitive;

/// What was measured. Parts that were not are empty.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Results {
    #[serde(skip)]
    pub(crate) parts: Vec<Part>,
    pub(crate) sizes: Vec<Size>,
    pub(crate) cold: Vec<Cold>,
    pub(crate) warm: Vec<Warm>,
    pub(crate) hashing: Vec<Warm>,
    pub(crate) primitives: Vec<Primitive>,
    pub(crate) load: Vec<Load>,
}
