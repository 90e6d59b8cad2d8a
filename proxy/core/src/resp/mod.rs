//! RESP2 and RESP3, as far as a proxy has to read them.
