//! Global parameters: the rows of `global_parameters`.
//!
//! The table comes into being with the first parameter.
//!
//! ```text
//! key    the name         value  the value, a JSON text
//! ```

use crate::store::error::StoreError;

pub(in crate::store) fn decode(bytes: &[u8]) -> Result<String, StoreError> {
    let malformed = |_not_utf8| StoreError::Damaged("a row of `global_parameters` is malformed".to_owned());
    String::from_utf8(bytes.to_vec()).map_err(malformed)
}
