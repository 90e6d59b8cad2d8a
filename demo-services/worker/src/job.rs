//! What comes in on `reports`, and what is told on `reports.done`.

use serde::{Deserialize, Serialize};

/// One ordered report. Fields that this worker does not know are left alone.
#[derive(Debug, Deserialize)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) title: String,
}

/// Says that a part is ready to be read.
#[derive(Serialize)]
pub(crate) struct Announcement<'a> {
    pub(crate) id: &'a str,
    pub(crate) kind: &'a str,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    #[error("not a job: {0}")]
    Json(#[from] serde_json::Error),
    /// The id becomes part of a key.
    #[error("the id is not 32 hex digits")]
    Id,
}

impl Job {
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, JobError> {
        let job: Self = serde_json::from_slice(payload)?;
        if job.id.len() == 32 && job.id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(job)
        } else {
            Err(JobError::Id)
        }
    }

    /// Twelve monthly figures. They are made up, but the same for every worker that makes a part of this report.
    pub(crate) fn figures(&self) -> [u64; 12] {
        let mut state = self.seed();
        std::array::from_fn(|_| {
            // One step of Knuth's MMIX generator; the high bits are the good ones.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            100 + (state >> 33) % 900
        })
    }

    /// FNV-1a of the id.
    pub(crate) fn seed(&self) -> u64 {
        self.id
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_read_and_its_figures_are_stable() {
        let text = br#"{"id":"00112233445566778899aabbccddeeff","title":"Sales","new_field":1}"#;
        let (one, two) = (Job::parse(text).unwrap(), Job::parse(text).unwrap());
        assert_eq!(one.title, "Sales");
        assert_eq!(one.figures(), two.figures());
        assert!(one.figures().iter().all(|figure| (100..1000).contains(figure)));
    }

    #[test]
    fn what_is_not_a_job_is_refused_with_a_reason() {
        assert!(matches!(Job::parse(b"hello"), Err(JobError::Json(_))));
        assert!(matches!(Job::parse(br#"{"id":"7"}"#), Err(JobError::Json(_))));
        assert!(matches!(Job::parse(br#"{"id":"7","title":"x"}"#), Err(JobError::Id)));
        // So bytes that anybody on the way had left behind the object would be noticed.
        assert!(Job::parse(b"{\"id\":\"00112233445566778899aabbccddeeff\",\"title\":\"x\"}\0").is_err());
    }
}
