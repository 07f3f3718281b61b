//! Takes big-endian values off the front of bytes. A short input is an error that says what was
//! being read.

/// What is left to be read.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// Whether all was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// How many bytes are left.
    pub(crate) fn len(&self) -> usize {
        self.left.len()
    }

    /// The next `len` bytes, for `what`.
    ///
    /// # Errors
    /// Fewer are left.
    pub(crate) fn take(&mut self, len: usize, what: &str) -> Result<&'a [u8], String> {
        if len > self.left.len() {
            return Err(format!("{what} needs {len} bytes, {} are left", self.left.len()));
        }
        let (taken, left) = self.left.split_at(len);
        self.left = left;
        Ok(taken)
    }

    /// The next unsigned integer of `len` bytes (8 at most), for `what`.
    ///
    /// # Errors
    /// Fewer are left.
    pub(crate) fn unsigned(&mut self, len: usize, what: &str) -> Result<u64, String> {
        Ok(self.take(len, what)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// The next byte, for `what`.
    ///
    /// # Errors
    /// None is left.
    pub(crate) fn octet(&mut self, what: &str) -> Result<u8, String> {
        Ok(self.take(1, what)?[0])
    }

    /// The next short string.
    ///
    /// # Errors
    /// It is cut.
    pub(crate) fn short_text(&mut self, what: &str) -> Result<&'a [u8], String> {
        let len = usize::from(self.octet(what)?);
        self.take(len, what)
    }

    /// The next bytes with a length of four bytes before them.
    ///
    /// # Errors
    /// They are cut.
    pub(crate) fn long_text(&mut self, what: &str) -> Result<&'a [u8], String> {
        let len = usize::try_from(self.unsigned(4, what)?).map_err(|why| why.to_string())?;
        self.take(len, what)
    }
}
