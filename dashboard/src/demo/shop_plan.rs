//! The services of the shop, their numbers of instances, and who calls whom. Callees come first, so that each service
//! starts after those that it calls.

/// One service of the shop.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlannedService {
    /// `service.name`.
    pub(super) name: &'static str,
    /// How many processes.
    pub(super) instances: usize,
    /// The services it calls.
    pub(super) calls: &'static [&'static str],
}

/// The shop, in the order of starting.
pub(super) const SHOP: [PlannedService; 7] = [
    PlannedService {
        name: "legacy",
        instances: 1,
        calls: &[],
    },
    PlannedService {
        name: "inventory",
        instances: 1,
        calls: &[],
    },
    PlannedService {
        name: "price",
        instances: 1,
        calls: &[],
    },
    PlannedService {
        name: "review",
        instances: 1,
        calls: &[],
    },
    PlannedService {
        name: "recommendation",
        instances: 1,
        calls: &[],
    },
    PlannedService {
        name: "product-page",
        instances: 2,
        calls: &["legacy", "inventory", "price", "review", "recommendation"],
    },
    PlannedService {
        name: "gateway",
        instances: 1,
        calls: &["product-page", "review"],
    },
];
