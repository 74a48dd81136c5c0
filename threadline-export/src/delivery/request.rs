//! The requests of a batch.

use threadline_diesel::feed::{ConsumerName, FeedItem, WithoutValues};

use super::Values;

/// The maximum size of a body with several items.
const MAX_BODY_BYTES: usize = 512 * 1024;

/// An item as JSON.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    id: i64,
    json: Vec<u8>,
}

impl Line {
    fn encode(item: &FeedItem, values: Values) -> serde_json::Result<Self> {
        let json = match values {
            Values::Send => serde_json::to_vec(item)?,
            Values::Omit => serde_json::to_vec(&WithoutValues(item))?,
        };
        Ok(Self {
            id: item.id(),
            json,
        })
    }
}

/// The items of one request, in order. Never empty.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    lines: Vec<Line>,
    /// How often the receiver refused a request with these items.
    pub(super) refusals: u32,
}

impl Request {
    /// The requests for the items of a batch.
    pub(super) fn encode(items: &[FeedItem], values: Values) -> serde_json::Result<Vec<Self>> {
        let lines = items.iter().map(|item| Line::encode(item, values));
        Ok(Self::divide(lines.collect::<serde_json::Result<_>>()?))
    }

    /// The request for one item.
    pub(super) fn single(item: &FeedItem, values: Values) -> serde_json::Result<Self> {
        Ok(Self {
            lines: vec![Line::encode(item, values)?],
            refusals: 0,
        })
    }

    fn divide(lines: Vec<Line>) -> Vec<Self> {
        let mut requests: Vec<Self> = Vec::new();
        let mut size = 0;
        for line in lines {
            let added = line.json.len() + 1;
            match requests.last_mut() {
                Some(request) if size + added <= MAX_BODY_BYTES => {
                    size += added;
                    request.lines.push(line);
                }
                _ => {
                    size = added;
                    requests.push(Self {
                        lines: vec![line],
                        refusals: 0,
                    });
                }
            }
        }
        requests
    }

    /// The same id for the same items.
    pub(super) fn id(&self, consumer: &ConsumerName) -> String {
        let [first, last] =
            [self.lines.first(), self.lines.last()].map(|line| line.map_or(0, |line| line.id));
        // The signature separates the id by a full stop.
        format!("{}_{first}_{last}", consumer.as_str().replace('.', "_"))
    }

    /// The items as NDJSON.
    pub(super) fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for line in &self.lines {
            body.extend_from_slice(&line.json);
            body.push(b'\n');
        }
        body
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The id of the item, if there is only one.
    pub(super) fn single_id(&self) -> Option<i64> {
        match self.lines.as_slice() {
            [line] => Some(line.id),
            _ => None,
        }
    }

    /// The first and the second half of the items.
    pub(super) fn halve(mut self) -> [Self; 2] {
        let rest = self.lines.split_off(self.lines.len() / 2);
        let refusals = self.refusals;
        [self.lines, rest].map(|lines| Self { lines, refusals })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: i64, bytes: usize) -> Line {
        Line {
            id,
            json: vec![b'x'; bytes],
        }
    }

    fn ids(requests: &[Request]) -> Vec<Vec<i64>> {
        let of = |request: &Request| request.lines.iter().map(|line| line.id).collect();
        requests.iter().map(of).collect()
    }

    #[test]
    fn requests_are_divided_by_size_and_keep_the_order() {
        let half = MAX_BODY_BYTES / 2 - 1;
        let lines = vec![
            line(1, half),
            line(2, half),
            line(3, 1),
            line(4, 2 * MAX_BODY_BYTES),
            line(5, 1),
        ];
        let requests = Request::divide(lines);
        assert_eq!(ids(&requests), [vec![1, 2], vec![3], vec![4], vec![5]]);
        assert_eq!(requests[0].body().len(), MAX_BODY_BYTES);
    }

    #[test]
    fn halves_have_all_items_in_order() {
        let [mut request]: [Request; 1] = Request::divide((1..=5).map(|id| line(id, 1)).collect())
            .try_into()
            .unwrap();
        request.refusals = 10;
        let halves = request.halve();
        assert_eq!(ids(&halves), [vec![1, 2], vec![3, 4, 5]]);
        assert_eq!(halves[1].refusals, 10);
        let consumer: ConsumerName = "a.b".parse().unwrap();
        assert_eq!(halves[1].id(&consumer), "a_b_3_5");
    }
}
