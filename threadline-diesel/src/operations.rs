//! Questions about the trail itself, for sync and for async connections: one body, expanded twice.

/// The functions that ask them, on connections of a kind.
macro_rules! operations {
    ($connection:path, $dsl:path $(, $asyncness:ident, $await:ident)?) => {
        use chrono::Utc;
        use diesel::pg::Pg;
        use $dsl;

        use crate::coverage::rows::{self, Access, FoundRow, HostTable, Installation, PolicyRow, SchemaRow};
        use crate::coverage::{
            Coverage, CoverageError, CoverageReport, TrailSeen, check, trail_seen,
        };
        use crate::doctor::{self, Doctor, DoctorReport};
        use crate::policy::DeployedPolicy;

        /// Which tables are captured, and what is wrong with that. Reads the catalog and, within
        /// bounds, what was recorded lately; changes nothing.
        ///
        /// # Errors
        /// [`CoverageError`] when there is no trail, the connected role may not ask, or the
        /// database says no.
        pub $($asyncness)? fn coverage<C>(
            conn: &mut C,
            question: &Coverage,
        ) -> Result<CoverageReport, CoverageError>
        where
            C: $connection,
        {
            let policies = deployed_policies(conn)$(.$await)??;
            let schemas = rows::schemas(question.schemas()).load::<SchemaRow>(conn)$(.$await)??;
            question.check_schemas(&schemas)?;
            let tables = rows::tables().load::<HostTable>(conn)$(.$await)??;
            let found = question.findings_query().load::<FoundRow>(conn)$(.$await)??;
            let installation = rows::installation().load::<Installation>(conn)$(.$await)??;
            Ok(question.report(tables, found, &policies, &installation))
        }

        /// The capture policies that are deployed, a function each.
        ///
        /// # Errors
        /// As [`coverage`].
        pub $($asyncness)? fn deployed_policies<C>(
            conn: &mut C,
        ) -> Result<Vec<DeployedPolicy>, CoverageError>
        where
            C: $connection,
        {
            let access = rows::access().load::<Access>(conn)$(.$await)??;
            check(&access)?;
            let rows = rows::deployed().load::<PolicyRow>(conn)$(.$await)??;
            Ok(rows.into_iter().map(DeployedPolicy::from).collect())
        }

        /// Looks over connection, server, roles and trail. What cannot be found out is part of the
        /// answer, so this does not fail. Ask outside a transaction: a question that is refused
        /// ends it.
        pub $($asyncness)? fn doctor<C>(conn: &mut C, question: &Doctor) -> DoctorReport
        where
            C: $connection,
        {
            let mut checks = Vec::new();
            let before = Utc::now();
            let clock = doctor::clock().load(conn)$(.$await)?;
            checks.push(doctor::judge_clock(before, Utc::now(), clock));
            let session = doctor::session().load(conn)$(.$await)?;
            checks.push(question.judge_pooler(session));
            let installation = match rows::access().load::<Access>(conn)$(.$await)? {
                Ok(access) => match trail_seen(&access) {
                    TrailSeen::Noted => rows::installation().load(conn)$(.$await)?.map(Some),
                    TrailSeen::Unnoted => Ok(Some(Vec::new())),
                    TrailSeen::None => Ok(None),
                },
                Err(error) => Err(error),
            };
            checks.push(doctor::judge_installation(&installation));
            let has_trail = matches!(&installation, Ok(Some(_)));
            for check in doctor::CHECKS {
                if has_trail || !check.needs_trail {
                    let found = check.query().load(conn)$(.$await)?;
                    checks.push(check.judge(found));
                }
            }
            DoctorReport::new(checks)
        }
    };
}

pub(crate) use operations;
