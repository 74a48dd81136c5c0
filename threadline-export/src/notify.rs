//! Notifications about background work, for people and other services.

use std::error::Error;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::Serialize;
use uuid::Uuid;

/// The end of background work. Has no values from the trail and no address of a stored file: the recipient
/// downloads the file with their own rights.
///
/// As JSON: `{"type": "export.ready", "data": {…}}`.
///
/// ```
/// use threadline_export::Notification;
///
/// let notification = Notification::ExportFailed {
///     job_id: uuid::Uuid::nil(),
///     error_code: "storage_full".to_owned(),
/// };
/// let json = serde_json::to_value(&notification)?;
/// assert_eq!(json["type"], "export.failed");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", content = "data")]
#[non_exhaustive]
pub enum Notification {
    /// A background export completed.
    #[serde(rename = "export.ready")]
    ExportReady {
        /// The id of the job.
        job_id: Uuid,
        /// The number of changes in the file.
        rows: u64,
        /// The size of the file.
        bytes: u64,
    },
    /// A background export failed, and is not attempted again.
    #[serde(rename = "export.failed")]
    ExportFailed {
        /// The id of the job.
        job_id: Uuid,
        /// The kind of the error.
        error_code: String,
    },
    /// A check of the audit system failed.
    #[serde(rename = "check.failed")]
    CheckFailed {
        /// The name of the check.
        check: String,
        /// The `order_id` of the recorded evidence.
        order_id: i64,
    },
}

impl Notification {
    /// The id by which a receiver recognises a repeated notification.
    ///
    /// ```
    /// use threadline_export::Notification;
    ///
    /// let failed = Notification::CheckFailed { check: "coverage".to_owned(), order_id: 7 };
    /// assert_eq!(failed.id(), "check_failed_7");
    /// ```
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::ExportReady { job_id, .. } => format!("export_ready_{job_id}"),
            Self::ExportFailed { job_id, .. } => format!("export_failed_{job_id}"),
            Self::CheckFailed { order_id, .. } => format!("check_failed_{order_id}"),
        }
    }
}

/// A notification was not delivered.
#[derive(Debug, thiserror::Error)]
#[error("the notification was not delivered")]
pub struct NotifyError(#[source] pub Box<dyn Error + Send + Sync>);

/// Delivers notifications: by e-mail, to a chat, or to another service. With the feature `http`,
/// `WebhookNotifier` sends them over HTTP.
///
/// The same notification can be delivered more than once.
///
/// ```
/// use futures_util::FutureExt;
/// use futures_util::future::BoxFuture;
/// use threadline_export::{Notification, Notifier, NotifyError};
///
/// struct Log;
///
/// impl Notifier for Log {
///     fn notify<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), NotifyError>> {
///         async move {
///             println!("{}", notification.id());
///             Ok(())
///         }
///         .boxed()
///     }
/// }
/// ```
pub trait Notifier: Send + Sync + 'static {
    /// Delivers one notification. The caller logs an error and continues: notifications do not change the
    /// result of the work.
    ///
    /// # Errors
    /// [`NotifyError`] if it was not delivered.
    fn notify<'a>(
        &'a self,
        notification: &'a Notification,
    ) -> BoxFuture<'a, Result<(), NotifyError>>;
}

impl Notifier for Arc<dyn Notifier> {
    fn notify<'a>(
        &'a self,
        notification: &'a Notification,
    ) -> BoxFuture<'a, Result<(), NotifyError>> {
        self.as_ref().notify(notification)
    }
}
