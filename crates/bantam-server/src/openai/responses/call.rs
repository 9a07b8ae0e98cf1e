//! A call in the making, and the events that tell of it.

use serde_json::{Value, json};

use super::events::Draft;
use crate::answer::{CallPiece, Called};
use crate::clock;

/// The call that is open.
pub(super) struct OpenCall {
    id: String,
    call: Called,
}

impl OpenCall {
    fn item(&self, status: &str) -> Value {
        let Called { id, name, arguments } = &self.call;
        json!({
            "type": "function_call", "id": self.id, "status": status, "call_id": id, "name": name, "arguments": arguments,
        })
    }
}

impl Draft {
    /// Some more of a call, and the events that tell of it.
    pub(super) fn call(&mut self, piece: CallPiece) -> String {
        match piece {
            CallPiece::Begin { id, name } => {
                let closed = self.close("completed");
                let call =
                    OpenCall { id: clock::id("fc_"), call: Called { id, name, arguments: String::new() } };
                let data = json!({ "output_index": self.output.len(), "item": call.item("in_progress") });
                self.call = Some(call);
                closed + &self.event("response.output_item.added", data)
            }
            CallPiece::Arguments(more) => {
                let (output_index, Some(open)) = (self.output.len(), &mut self.call) else {
                    return String::new();
                };
                open.call.arguments += &more;
                let data = json!({ "item_id": open.id, "output_index": output_index, "delta": more });
                self.event("response.function_call_arguments.delta", data)
            }
            CallPiece::End => self.close_call("completed"),
        }
    }

    /// A call that is there.
    pub(super) fn called(&mut self, call: Called) {
        let Called { id, name, arguments } = call;
        for piece in [CallPiece::Begin { id, name }, CallPiece::Arguments(arguments), CallPiece::End] {
            self.call(piece);
        }
    }

    /// Closes the open call.
    pub(super) fn close_call(&mut self, status: &str) -> String {
        let Some(open) = self.call.take() else { return String::new() };
        let (output_index, item) = (self.output.len(), open.item(status));
        let done = json!({
            "item_id": open.id,
            "output_index": output_index,
            "name": open.call.name,
            "arguments": open.call.arguments,
        });
        self.output.push(item.clone());
        self.event("response.function_call_arguments.done", done)
            + &self.event("response.output_item.done", json!({ "output_index": output_index, "item": item }))
    }
}
