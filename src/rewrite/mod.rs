//! What an import changes for the new host: a pure plan first, then its application.
