//! Implementations of stream traits for enums of streams.

/// Forwards `AsyncRead` and `AsyncWrite` of an enum to the stream in each of its variants.
macro_rules! forward_io {
    ($enum:ident { $($variant:ident),+ $(,)? }) => {
        impl tokio::io::AsyncRead for $enum {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                match self.get_mut() {
                    $($enum::$variant(stream) => std::pin::Pin::new(stream).poll_read(cx, buf),)+
                }
            }
        }

        impl tokio::io::AsyncWrite for $enum {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                match self.get_mut() {
                    $($enum::$variant(stream) => std::pin::Pin::new(stream).poll_write(cx, buf),)+
                }
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                match self.get_mut() {
                    $($enum::$variant(stream) => {
                        std::pin::Pin::new(stream).poll_write_vectored(cx, bufs)
                    })+
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $($enum::$variant(stream) => stream.is_write_vectored(),)+
                }
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                match self.get_mut() {
                    $($enum::$variant(stream) => std::pin::Pin::new(stream).poll_flush(cx),)+
                }
            }

            fn poll_shutdown(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                match self.get_mut() {
                    $($enum::$variant(stream) => std::pin::Pin::new(stream).poll_shutdown(cx),)+
                }
            }
        }
    };
}

/// Forwards `Transport`, `AsyncRead` and `AsyncWrite` of an enum to the transport in each of its
/// variants.
macro_rules! forward_transport {
    ($enum:ident { $($variant:ident),+ $(,)? }) => {
        $crate::net::stream::forward_io!($enum { $($variant),+ });

        impl $crate::net::stream::Transport for $enum {
            fn has_ended(&self) -> bool {
                match self {
                    $($enum::$variant(stream) => stream.has_ended(),)+
                }
            }

            fn has_failed(&self) -> bool {
                match self {
                    $($enum::$variant(stream) => stream.has_failed(),)+
                }
            }

            fn wakes_on_failure(&self) -> bool {
                match self {
                    $($enum::$variant(stream) => stream.wakes_on_failure(),)+
                }
            }

            fn in_flight(&self) -> Option<echogate_event_loop::InFlight> {
                match self {
                    $($enum::$variant(stream) => stream.in_flight(),)+
                }
            }

            fn reset_on_drop(&mut self) {
                match self {
                    $($enum::$variant(stream) => stream.reset_on_drop(),)+
                }
            }

            fn reset(&mut self) {
                match self {
                    $($enum::$variant(stream) => stream.reset(),)+
                }
            }

            fn reads_messages(&self) -> bool {
                match self {
                    $($enum::$variant(stream) => stream.reads_messages(),)+
                }
            }

            fn has_read_end(&self) -> bool {
                match self {
                    $($enum::$variant(stream) => stream.has_read_end(),)+
                }
            }
        }
    };
}

pub(crate) use {forward_io, forward_transport};
