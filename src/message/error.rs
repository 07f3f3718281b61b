//! What can be wrong with the bytes of properties and field tables.

/// Why bytes are no properties, or no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Flags or list of properties.
    Properties,
    /// A field table.
    Table,
    /// A name in a field table is not UTF-8.
    TableName,
    /// A field table is nested too deep.
    TableDepth,
}

impl std::error::Error for Malformed {}
