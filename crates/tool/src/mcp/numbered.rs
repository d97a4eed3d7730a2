//! Numbers of requests that no other connection has used.
//!
//! The protocol wants a request that is made again, because the server had a question, to have another number than the
//! first time. With us another process may make it, whose numbers would begin anew; so each connection counts from a
//! random place. The library under us counts from 0 and cannot be told otherwise: its numbers are changed on their way.

use std::hash::{BuildHasher as _, Hasher as _};

use rmcp::RoleClient;
use rmcp::model::{
    ClientNotification, ClientRequest, GetExtensions as _, JsonRpcMessage, JsonRpcRequest,
    RequestId,
};
use rmcp::service::{InboundStreamOrigin, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;

/// A transport whose requests are numbered from a random place.
pub(super) struct Numbered<T> {
    inner: T,
    from: i64,
    /// The question which version is spoken, and whether it was given up for the older way to begin.
    probe: Option<RequestId>,
    given_up: bool,
}

impl<T> Numbered<T> {
    pub(super) fn new(inner: T) -> Numbered<T> {
        // A hasher of the standard library begins with random keys. At most 2^52, which every JSON reader takes for a
        // whole number, and with room to count.
        let random = std::hash::RandomState::new().build_hasher().finish();
        let from = i64::try_from((random >> 32) << 20).unwrap_or(0);
        Numbered {
            inner,
            from,
            probe: None,
            given_up: false,
        }
    }

    /// Notes how the connection begins.
    fn note(&mut self, request: &JsonRpcRequest<ClientRequest>) {
        match &request.request {
            ClientRequest::DiscoverRequest(_) => self.probe = Some(request.id.clone()),
            ClientRequest::InitializeRequest(_) => self.given_up = true,
            _ => {}
        }
    }

    /// Whether it is the answer to a probe that has been given up: a slow server of the older kind answers it after
    /// all, which the library under us takes for a fault.
    fn is_late(&self, id: &RequestId) -> bool {
        self.given_up && self.probe.as_ref() == Some(id)
    }

    /// As the server sees it.
    fn out(&self, id: &mut RequestId) {
        if let RequestId::Number(number) = id {
            *number = number.saturating_add(self.from);
        }
    }

    /// As the library under us made it. Some servers give a number back as text.
    fn back(&self, id: &mut RequestId) {
        let number = match id {
            RequestId::Number(number) => Some(*number),
            RequestId::String(text) => text.parse().ok(),
        };
        if let Some(number) = number {
            *id = RequestId::Number(number.saturating_sub(self.from));
        }
    }
}

impl<T> Numbered<T> {
    /// What a server asks belongs to a request of ours.
    fn back_to_its_request(&self, item: &mut RxJsonRpcMessage<RoleClient>) {
        if let JsonRpcMessage::Request(request) = item {
            let extensions = request.request.extensions_mut();
            let origin = extensions.get_mut::<InboundStreamOrigin>();
            if let Some(InboundStreamOrigin::OutboundRequest(id)) = origin {
                self.back(id);
            }
        }
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for Numbered<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        mut item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), T::Error>> + Send + 'static {
        match &mut item {
            JsonRpcMessage::Request(request) => {
                self.note(request);
                self.out(&mut request.id);
            }
            JsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) =
                    &mut notification.notification
                    && let Some(id) = &mut cancelled.params.request_id
                {
                    self.out(id);
                }
            }
            // They carry the server's own numbers.
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => {}
        }
        self.inner.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            let mut item = self.inner.receive().await?;
            let answered = match &mut item {
                JsonRpcMessage::Response(response) => Some(&mut response.id),
                JsonRpcMessage::Error(error) => error.id.as_mut(),
                JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => None,
            };
            if let Some(id) = answered {
                self.back(id);
                if self.is_late(id) {
                    continue;
                }
            }
            self.back_to_its_request(&mut item);
            return Some(item);
        }
    }

    async fn close(&mut self) -> Result<(), T::Error> {
        self.inner.close().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were() {
        let (one, other) = (Numbered::new(()), Numbered::new(()));
        let mut id = RequestId::Number(3);
        one.out(&mut id);
        let mut text = RequestId::String(format!("{}", one.from + 3).into());
        for id in [&mut id, &mut text] {
            one.back(id);
            assert_eq!(*id, RequestId::Number(3));
        }
        assert_ne!(one.from, other.from);
        assert!(one.from >= 0 && one.from < 1 << 52);
    }
}
