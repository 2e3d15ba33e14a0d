//! What is being measured, and what remains.

use std::time::Instant;

/// Tells how far the run is. Remaining times begin as estimates and follow what the steps so far have taken.
#[derive(Debug)]
pub struct Progress {
    began: Instant,
    step: usize,
    steps: usize,
    estimated_done: f64,
    estimated_all: f64,
}

impl Progress {
    /// For so many steps, which are estimated to take so many seconds together.
    pub fn begin(steps: usize, estimated_all: f64) -> Self {
        Self { began: Instant::now(), step: 0, steps, estimated_done: 0.0, estimated_all }
    }

    /// Announces a step.
    pub fn step(&mut self, label: &str, estimated: f64) {
        self.step += 1;
        let remaining = (self.estimated_all - self.estimated_done) * self.pace();
        let minutes = (remaining / 60.0).ceil();
        eprintln!("[{:>3}/{}] {label}   (about {minutes:.0} min remain)", self.step, self.steps);
        self.estimated_done += estimated;
    }

    /// Seconds since the beginning.
    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    fn pace(&self) -> f64 {
        // The first minute tells little.
        if self.estimated_done < 60.0 { 1.0 } else { self.seconds() / self.estimated_done }
    }
}
