//! The calls of the feed, on sync and on async connections: one body, expanded twice.

/// The calls, on connections of a kind.
macro_rules! feed_calls {
    ($connection:path, $dsl:path $(, $asyncness:ident, $await:ident)?) => {
        use chrono::{DateTime, Utc};
        use diesel::pg::Pg;
        use diesel::sql_types::Text;
        use $dsl;

        use crate::change::TimelineEntry;
        use crate::feed::statements::{
            Acknowledge, CreateConsumer, DropConsumer, LagRow, Lease, LeaseRow, ReadLag, Release,
            Renew,
        };
        use crate::feed::{
            BatchSize, ConsumerName, FeedError, Lag, LeaseTime, LeaseToken, Leased, Start,
        };
        use crate::timeline::changes_between;

        /// Makes a consumer. The first one of a database also makes the index of the feed, for
        /// which nobody may write to the trail; it gives up after three seconds of waiting for
        /// those who do.
        ///
        /// # Errors
        /// [`FeedError::ConsumerExists`], or what the database says, for instance when
        /// [`Start::After`] names an id that no change has yet.
        pub $($asyncness)? fn create<C>(
            conn: &mut C,
            consumer: &ConsumerName,
            start: Start,
        ) -> Result<(), FeedError>
        where
            C: $connection,
        {
            let create = CreateConsumer {
                consumer: consumer.as_str().to_owned(),
                after_id: start.after_id(),
            };
            if create.get_result::<bool>(conn)$(.$await)?? {
                Ok(())
            } else {
                Err(FeedError::ConsumerExists(consumer.clone()))
            }
        }

        /// Drops a consumer. Whoever works for it finds its lease lost.
        ///
        /// # Errors
        /// [`FeedError::NoSuchConsumer`], or what the database says.
        pub $($asyncness)? fn drop_consumer<C>(
            conn: &mut C,
            consumer: &ConsumerName,
        ) -> Result<(), FeedError>
        where
            C: $connection,
        {
            let drop = DropConsumer { consumer: consumer.as_str().to_owned() };
            if drop.get_result::<bool>(conn)$(.$await)?? {
                Ok(())
            } else {
                Err(FeedError::NoSuchConsumer(consumer.clone()))
            }
        }

        /// Leases the next changes of a consumer: nobody else gets them until the lease runs out
        /// or is given up. Outside of a transaction, or in one at the level `READ COMMITTED` that
        /// has written nothing.
        ///
        /// # Errors
        /// [`FeedError::NoSuchConsumer`], or what the database says.
        pub $($asyncness)? fn lease<C>(
            conn: &mut C,
            consumer: &ConsumerName,
            time: LeaseTime,
            size: BatchSize,
        ) -> Result<Leased, FeedError>
        where
            C: $connection,
        {
            let lease = Lease {
                consumer: consumer.as_str().to_owned(),
                time: time.interval(),
                batch: size.limit(),
            };
            let row = lease.get_result::<LeaseRow>(conn)$(.$await)??;
            let granted = match row.read(consumer)? {
                Ok(granted) => granted,
                Err(leased) => return Ok(leased),
            };
            let entries = changes_between(granted.after_id, granted.to_id)
                .load::<TimelineEntry>(conn)$(.$await)??;
            Ok(granted.with_entries(entries))
        }

        /// Says that leased changes are done with. Inside the transaction that stores what was
        /// done with them, they are done with exactly once.
        ///
        /// # Errors
        /// [`FeedError::LeaseLost`]: nothing was acknowledged, and the changes are delivered
        /// again. Or what the database says.
        pub $($asyncness)? fn acknowledge<C>(
            conn: &mut C,
            token: &LeaseToken,
        ) -> Result<(), FeedError>
        where
            C: $connection,
        {
            let acknowledge = Acknowledge {
                consumer: token.consumer().as_str().to_owned(),
                token: token.token(),
            };
            if acknowledge.get_result::<bool>(conn)$(.$await)?? {
                Ok(())
            } else {
                Err(FeedError::LeaseLost(token.consumer().clone()))
            }
        }

        /// Has a lease last for a time from now. Gives until when, by the server's clock.
        ///
        /// # Errors
        /// [`FeedError::LeaseLost`], or what the database says.
        pub $($asyncness)? fn renew<C>(
            conn: &mut C,
            token: &LeaseToken,
            time: LeaseTime,
        ) -> Result<DateTime<Utc>, FeedError>
        where
            C: $connection,
        {
            let renew = Renew {
                consumer: token.consumer().as_str().to_owned(),
                token: token.token(),
                time: time.interval(),
            };
            renew
                .get_result::<Option<DateTime<Utc>>>(conn)$(.$await)??
                .ok_or_else(|| FeedError::LeaseLost(token.consumer().clone()))
        }

        /// Gives a lease up: the same changes can be leased again at once.
        ///
        /// # Errors
        /// [`FeedError::LeaseLost`], or what the database says.
        pub $($asyncness)? fn release<C>(
            conn: &mut C,
            token: &LeaseToken,
        ) -> Result<(), FeedError>
        where
            C: $connection,
        {
            let release = Release {
                consumer: token.consumer().as_str().to_owned(),
                token: token.token(),
            };
            if release.get_result::<bool>(conn)$(.$await)?? {
                Ok(())
            } else {
                Err(FeedError::LeaseLost(token.consumer().clone()))
            }
        }

        /// How far a consumer is.
        ///
        /// # Errors
        /// [`FeedError::NoSuchConsumer`], or what the database says.
        pub $($asyncness)? fn lag<C>(
            conn: &mut C,
            consumer: &ConsumerName,
        ) -> Result<Lag, FeedError>
        where
            C: $connection,
        {
            let read = ReadLag { consumer: Some(consumer.as_str().to_owned()) };
            read.load::<LagRow>(conn)$(.$await)??
                .into_iter()
                .next()
                .map(Lag::from)
                .ok_or_else(|| FeedError::NoSuchConsumer(consumer.clone()))
        }

        /// Every consumer and how far it is, by name.
        ///
        /// # Errors
        /// What the database says.
        pub $($asyncness)? fn list<C>(conn: &mut C) -> Result<Vec<Lag>, FeedError>
        where
            C: $connection,
        {
            let rows = ReadLag { consumer: None }.load::<LagRow>(conn)$(.$await)??;
            Ok(rows.into_iter().map(Lag::from).collect())
        }

        /// Wakes those who listen for changes. Call it after the commit: in a transaction it would
        /// have its commit wait for others that notify, and listeners only hear of it then.
        ///
        /// # Errors
        /// What the database says.
        pub $($asyncness)? fn wake<C>(conn: &mut C) -> Result<(), FeedError>
        where
            C: $connection,
        {
            diesel::sql_query("SELECT pg_catalog.pg_notify($1, '')")
                .bind::<Text, _>(crate::feed::channel())
                .execute(conn)$(.$await)??;
            Ok(())
        }
    };
}

pub(crate) use feed_calls;
