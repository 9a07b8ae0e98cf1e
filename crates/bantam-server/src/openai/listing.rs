//! Lists that are told a part at a time, as OpenAI's protocol has it: `after`, `limit`, `order`.

use serde_json::{Value, json};

use crate::fault::Fault;

/// Which part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Behind the one with this name.
    after: Option<String>,
    /// So many at most.
    limit: usize,
    order: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    OldestFirst,
    NewestFirst,
}

const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 100;

impl Part {
    /// As a request's query says.
    ///
    /// # Errors
    ///
    /// Values that these fields cannot have; others are not looked at.
    pub(crate) fn read(query: Option<&str>) -> Result<Self, Fault> {
        let mut part = Part { after: None, limit: LIMIT_DEFAULT, order: Order::NewestFirst };
        let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        for (name, value) in pairs.filter(|(_, value)| !value.is_empty()) {
            match (name, value) {
                ("after", id) => part.after = Some(id.to_owned()),
                ("limit", count) => {
                    let count = count.parse().ok().filter(|count| (1..=LIMIT_MAX).contains(count));
                    part.limit = count.ok_or_else(|| wrong("limit", "a whole number from 1 to 100"))?;
                }
                ("order", "asc") => part.order = Order::OldestFirst,
                ("order", "desc") => part.order = Order::NewestFirst,
                ("order", _) => return Err(wrong("order", "asc or desc")),
                _ => {}
            }
        }
        Ok(part)
    }

    /// The part of these, of which the oldest come first.
    ///
    /// # Errors
    ///
    /// `after` that none of them is called.
    pub(crate) fn of(&self, items: &[Value]) -> Result<Value, Fault> {
        let mut ordered: Vec<&Value> = items.iter().collect();
        if self.order == Order::NewestFirst {
            ordered.reverse();
        }
        let begin = match &self.after {
            None => 0,
            Some(id) => {
                let place = ordered.iter().position(|item| item["id"] == **id);
                place.ok_or_else(|| wrong("after", "the `id` of one of the list"))? + 1
            }
        };
        let rest = &ordered[begin..];
        Ok(list(&rest[..rest.len().min(self.limit)], rest.len() > self.limit))
    }
}

/// A list as it is told.
pub(crate) fn list(items: &[&Value], has_more: bool) -> Value {
    json!({
        "object": "list",
        "data": items,
        "first_id": items.first().map(|item| &item["id"]),
        "last_id": items.last().map(|item| &item["id"]),
        "has_more": has_more,
    })
}

fn wrong(name: &str, wanted: &str) -> Fault {
    Fault::field(name, format!("`{name}` of the query is wrong: wanted {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(query: &str) -> Result<(Vec<String>, bool), String> {
        let items: Vec<Value> = ["a", "b", "c"].into_iter().map(|id| json!({ "id": id })).collect();
        let list = Part::read(Some(query)).and_then(|part| part.of(&items));
        let list = list.map_err(|fault| fault.param.unwrap_or_default())?;
        let ids: Vec<String> =
            list["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().into()).collect();
        assert_eq!(
            (list["first_id"].as_str(), list["last_id"].as_str()),
            (ids.first().map(String::as_str), ids.last().map(String::as_str))
        );
        Ok((ids, list["has_more"] == true))
    }

    #[test]
    fn a_list_is_told_in_parts() {
        let ids = |ids: &[&str], has_more| Ok((ids.iter().map(|&id| id.to_owned()).collect(), has_more));
        assert_eq!(part(""), ids(&["c", "b", "a"], false));
        assert_eq!(part("order=asc&limit=2&include[]=x"), ids(&["a", "b"], true));
        assert_eq!(part("order=asc&limit=2&after=b"), ids(&["c"], false));
        assert_eq!(part("limit=1&after=c"), ids(&["b"], true));
        assert_eq!(part("after=a"), ids(&[], false));
        for (query, param) in
            [("limit=0", "limit"), ("limit=101", "limit"), ("order=up", "order"), ("after=z", "after")]
        {
            assert_eq!(part(query), Err(param.to_owned()));
        }
    }
}
