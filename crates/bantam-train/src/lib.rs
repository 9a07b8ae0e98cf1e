//! The tape: the same forward pass, recorded, with its gradients.
#![forbid(unsafe_code)]
