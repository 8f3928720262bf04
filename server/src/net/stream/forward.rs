//! Implementations of stream traits for enums of streams.

/// Evaluates `$value` with `$stream` bound to the content of whichever of `$variants` `$enum` is.
macro_rules! for_variant {
    ($enum:expr, { $($variant:ident),+ $(,)? }, $stream:ident => $value:expr) => {
        match $enum {
            $(Self::$variant($stream) => $value,)+
        }
    };
}

/// Forwards `AsyncRead` and `AsyncWrite` of an enum to the stream in each of its variants.
macro_rules! forward_io {
    ($enum:ident $variants:tt) => {
        impl tokio::io::AsyncRead for $enum {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                $crate::net::stream::for_variant!(self.get_mut(), $variants, stream => {
                    std::pin::Pin::new(stream).poll_read(cx, buf)
                })
            }
        }

        impl tokio::io::AsyncWrite for $enum {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                $crate::net::stream::for_variant!(self.get_mut(), $variants, stream => {
                    std::pin::Pin::new(stream).poll_write(cx, buf)
                })
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                $crate::net::stream::for_variant!(self.get_mut(), $variants, stream => {
                    std::pin::Pin::new(stream).poll_write_vectored(cx, bufs)
                })
            }

            fn is_write_vectored(&self) -> bool {
                $crate::net::stream::for_variant!(self, $variants, stream => stream.is_write_vectored())
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                $crate::net::stream::for_variant!(self.get_mut(), $variants, stream => {
                    std::pin::Pin::new(stream).poll_flush(cx)
                })
            }

            fn poll_shutdown(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                $crate::net::stream::for_variant!(self.get_mut(), $variants, stream => {
                    std::pin::Pin::new(stream).poll_shutdown(cx)
                })
            }
        }
    };
}

/// Forwards `Transport`, `AsyncRead` and `AsyncWrite` of an enum to the transport in each of its
/// variants.
macro_rules! forward_transport {
    ($enum:ident $variants:tt) => {
        $crate::net::stream::forward_io!($enum $variants);

        impl $crate::net::stream::Transport for $enum {
            $crate::net::stream::forward_methods! { $variants
                &self: has_ended -> bool, has_failed -> bool, wakes_on_failure -> bool,
                    in_flight -> Option<echogate_event_loop::InFlight>, reads_messages -> bool,
                    has_read_end -> bool;
                &mut self: reset_on_drop, reset;
            }
        }
    };
}

/// Methods without arguments, each forwarded to the transport in a variant.
macro_rules! forward_methods {
    ($variants:tt
        &$self:ident: $($query:ident -> $result:ty),+;
        &mut $mut_self:ident: $($action:ident),+;
    ) => {
        $(fn $query(&$self) -> $result {
            $crate::net::stream::for_variant!($self, $variants, stream => stream.$query())
        })+
        $(fn $action(&mut $mut_self) {
            $crate::net::stream::for_variant!($mut_self, $variants, stream => stream.$action());
        })+
    };
}

pub(crate) use {for_variant, forward_io, forward_methods, forward_transport};
