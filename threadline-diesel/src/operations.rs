//! Questions about the trail itself, for sync and for async connections: one body, expanded twice.

/// The functions that ask them, on connections of a kind.
macro_rules! operations {
    ($connection:path, $manager:path, $dsl:path $(, $asyncness:ident, $await:ident)?) => {
        use chrono::Utc;
        use diesel::pg::Pg;
        use $connection as Connection;
        use $dsl;
        use $manager as Manager;

        use crate::coverage::functions::captured;
        use crate::coverage::queries::{
            self, Access, ColumnsRow, FINDINGS, FoundRow, FunctionRow, HostTable, NameRow, VersionRow,
        };
        use crate::coverage::{Coverage, CoverageError, CoverageReport, Deployed, Facts};
        use crate::doctor::{self, Doctor, DoctorReport};
        use crate::policy::DeployedPolicy;

        /// Which tables are captured, and what is wrong with that. Reads the catalog and, within
        /// bounds, what was recorded lately; changes nothing. What the connected role may not read is
        /// said in a finding.
        ///
        /// # Errors
        /// [`CoverageError`] when there is no trail, or the database says no.
        pub $($asyncness)? fn coverage<C>(
            conn: &mut C,
            question: &Coverage,
        ) -> Result<CoverageReport, CoverageError>
        where
            C: Connection<Backend = Pg>,
        {
            begin(conn)$(.$await)??;
            let answer = facts(conn, question)$(.$await)?;
            end(conn)$(.$await)??;
            Ok(question.report(answer?))
        }

        /// The capture policies that are deployed, one for each table.
        ///
        /// # Errors
        /// As [`coverage`].
        pub $($asyncness)? fn deployed_policies<C>(
            conn: &mut C,
        ) -> Result<Vec<DeployedPolicy>, CoverageError>
        where
            C: Connection<Backend = Pg>,
        {
            begin(conn)$(.$await)??;
            let answer = policies(conn)$(.$await)?;
            end(conn)$(.$await)??;
            answer
        }

        /// Begins a transaction, or a savepoint, with settings of its own.
        $($asyncness)? fn begin<C>(conn: &mut C) -> Result<(), CoverageError>
        where
            C: Connection<Backend = Pg>,
        {
            C::TransactionManager::begin_transaction(conn)$(.$await)??;
            queries::pin_settings().execute(conn)$(.$await)??;
            Ok(())
        }

        /// Rolls it back, and with it the settings.
        $($asyncness)? fn end<C>(conn: &mut C) -> Result<(), CoverageError>
        where
            C: Connection<Backend = Pg>,
        {
            Ok(C::TransactionManager::rollback_transaction(conn)$(.$await)??)
        }

        $($asyncness)? fn policies<C>(conn: &mut C) -> Result<Vec<DeployedPolicy>, CoverageError>
        where
            C: Connection<Backend = Pg>,
        {
            let mut policies = deployed(conn)$(.$await)??.policies;
            let tables = queries::columns(&captured(&policies))
                .load::<ColumnsRow>(conn)$(.$await)??;
            for table in tables {
                let named = policies.iter_mut().find(|policy| {
                    policy.name.schema() == table.table_schema && policy.name.name() == table.table_name
                });
                if let Some(policy) = named {
                    policy.present_columns = table.columns;
                }
            }
            Ok(policies)
        }

        $($asyncness)? fn deployed<C>(conn: &mut C) -> Result<Deployed, CoverageError>
        where
            C: Connection<Backend = Pg>,
        {
            let access = queries::access().get_result::<Access>(conn)$(.$await)??;
            if !access.is_installed {
                return Err(CoverageError::NotInstalled);
            }
            let version = if access.tells_version {
                queries::schema_version().load::<VersionRow>(conn)$(.$await)??
            } else {
                Vec::new()
            };
            let functions = queries::functions().load::<FunctionRow>(conn)$(.$await)??;
            Ok(Deployed::new(access, &version, &functions))
        }

        $($asyncness)? fn facts<C>(conn: &mut C, question: &Coverage) -> Result<Facts, CoverageError>
        where
            C: Connection<Backend = Pg>,
        {
            let deployed = deployed(conn)$(.$await)??;
            let schemas = queries::schemas(question.schemas()).load::<NameRow>(conn)$(.$await)??;
            question.check_schemas(&schemas)?;
            let tables = queries::host_tables().load::<HostTable>(conn)$(.$await)??;
            let recent = if deployed.access.may_read(&["audit_transactions"]) {
                queries::recent_writers(question.since()).load::<NameRow>(conn)$(.$await)??
            } else {
                Vec::new()
            };
            let parameters = deployed.parameters(question.since(), question.writers(recent));
            let mut found = Vec::new();
            for query in FINDINGS {
                if deployed.access.may_read(query.reads) {
                    found.extend(query.statement(&parameters).load::<FoundRow>(conn)$(.$await)??);
                }
            }
            Ok(Facts { tables, found, deployed })
        }

        /// Looks over connection, server, roles and trail. What cannot be found out is part of the
        /// answer, so this does not fail. Ask outside a transaction: a question that is refused
        /// ends it.
        pub $($asyncness)? fn doctor<C>(conn: &mut C, question: &Doctor) -> DoctorReport
        where
            C: Connection<Backend = Pg>,
        {
            let mut checks = Vec::new();
            let before = Utc::now();
            let clock = doctor::clock().load(conn)$(.$await)?;
            checks.push(doctor::judge_clock(before, Utc::now(), clock));
            let session = doctor::session().load(conn)$(.$await)?;
            checks.push(question.judge_pooler(session));
            let version = match queries::access().get_result::<Access>(conn)$(.$await)? {
                Ok(access) if access.tells_version => queries::schema_version()
                    .load::<VersionRow>(conn)$(.$await)?
                    .map(Some),
                Ok(access) if access.is_installed => Ok(Some(Vec::new())),
                Ok(_) => Ok(None),
                Err(error) => Err(error),
            };
            checks.push(doctor::judge_installation(&version));
            let has_trail = matches!(&version, Ok(Some(_)));
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
