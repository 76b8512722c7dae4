//! A camera's panic is its own end, not the hub's.
//!
//! What a camera sends is read by libraries too, and some panic over what they did not expect. The bytes of one camera
//! must not end the recordings of the others: that source fails, and is opened again like any other. This room must
//! never ask a source again that has panicked.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use super::CameraError;
use super::source::{NextItem, Source};

/// Does this work; `None` if it panics. Whoever goes on then drops what the panic has left, unseen.
pub(crate) async fn unless_panicked<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        match polled {
            Ok(polled) => polled.map(Some),
            Err(_panic) => Poll::Ready(None),
        }
    })
    .await
}

/// Does this work about a camera; its panic is [`CameraError::Broken`].
pub(crate) async fn caught<T>(
    camera: &str,
    work: impl Future<Output = Result<T, CameraError>>,
) -> Result<T, CameraError> {
    let done = unless_panicked(work).await;
    done.unwrap_or_else(|| {
        let camera = camera.to_owned();
        Err(CameraError::Broken { camera })
    })
}

/// A source that is over when it panics.
pub(super) struct Caught {
    camera: String,
    source: Option<Box<dyn Source>>,
}

impl Caught {
    pub(super) fn new(camera: String, source: Box<dyn Source>) -> Self {
        Self {
            camera,
            source: Some(source),
        }
    }
}

impl Source for Caught {
    fn next_item(&mut self) -> NextItem<'_> {
        Box::pin(async move {
            let Some(source) = &mut self.source else {
                return Ok(None);
            };
            let next = caught(&self.camera, source.next_item()).await;
            if matches!(next, Err(CameraError::Broken { .. })) {
                self.source = None;
            }
            next
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::SourceItem;
    use super::*;

    /// Says something once, and panics.
    struct Fragile(bool);

    impl Source for Fragile {
        fn next_item(&mut self) -> NextItem<'_> {
            Box::pin(async {
                assert!(
                    !std::mem::replace(&mut self.0, true),
                    "as the test wants it"
                );
                Ok(Some(SourceItem::Gap))
            })
        }
    }

    #[tokio::test]
    async fn a_source_that_panics_has_failed_and_is_over() {
        let mut source = Caught::new("door".into(), Box::new(Fragile(false)));
        assert_eq!(source.next_item().await, Ok(Some(SourceItem::Gap)));
        let camera = "door".to_owned();
        let broken = CameraError::Broken { camera };
        assert_eq!(source.next_item().await, Err(broken.clone()));
        assert_eq!(source.next_item().await, Ok(None));
        let opening = async {
            let port: u16 = "no port".parse().expect("as the test wants it");
            Ok::<_, CameraError>(port)
        };
        assert_eq!(caught("door", opening).await, Err(broken));
    }
}
