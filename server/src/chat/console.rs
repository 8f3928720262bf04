//! The operator's console: the terminal of `echogate serve --console`.
