//! Who got how much: each client's tokens are counted, and who has the fewest comes first.
//!
//! As fair as deficit round robin, without rounds (virtual token counters, Sheng et al., 2024): no client gets more
//! than a step's rows ahead of another one that waits. Who comes anew begins where the least served of those present is, so that
//! nobody saves up time by being away.

use std::collections::HashMap;

/// Counts of the clients that have a request.
#[derive(Default)]
pub(crate) struct Clients {
    accounts: HashMap<u64, Account>,
}

#[derive(Default)]
struct Account {
    served: u64,
    requests: usize,
}

impl Clients {
    /// One more request of a client is there.
    pub(crate) fn enter(&mut self, client: u64) {
        let least = self.accounts.values().map(|account| account.served).min().unwrap_or(0);
        let account = self.accounts.entry(client).or_insert(Account { served: least, requests: 0 });
        account.requests += 1;
    }

    /// One has ended.
    pub(crate) fn leave(&mut self, client: u64) {
        let Some(account) = self.accounts.get_mut(&client) else { return };
        account.requests -= 1;
        if account.requests == 0 {
            self.accounts.remove(&client);
        }
    }

    /// So many rows were computed for it.
    pub(crate) fn charge(&mut self, client: u64, rows: usize) {
        if let Some(account) = self.accounts.get_mut(&client) {
            account.served += rows as u64;
        }
    }

    /// Rows that were computed for it.
    pub(crate) fn served(&self, client: u64) -> u64 {
        self.accounts.get(&client).map_or(0, |account| account.served)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn being_away_saves_nothing_up() {
        let mut clients = Clients::default();
        clients.enter(1);
        clients.charge(1, 1000);
        clients.enter(2);
        assert_eq!((clients.served(1), clients.served(2)), (1000, 1000));
        clients.charge(2, 50);
        clients.enter(3);
        assert_eq!(clients.served(3), 1000);
        clients.enter(3);
        clients.leave(3);
        clients.charge(3, 7);
        assert_eq!(clients.served(3), 1007, "one of its two requests is there still");
        clients.leave(3);
        assert_eq!((clients.served(3), clients.accounts.len()), (0, 2), "who is away is forgotten");
    }
}
