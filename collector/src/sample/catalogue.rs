//! The fictitious shop: its services, their operations, and the services that they call.

#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// Name of its instrumentation library.
    pub(super) scope: &'static str,
    /// Served operations: method and route.
    pub(super) operations: &'static [(&'static str, &'static str)],
    /// Called services, by index in `SERVICES`.
    pub(super) calls: &'static [usize],
    /// Internal work: a database statement, or an internal function.
    pub(super) work: &'static [Work],
}

#[derive(Debug)]
pub(super) enum Work {
    /// A statement: system, table, operation, text.
    Query(&'static str, &'static str, &'static str, &'static str),
    /// An internal function: name, file.
    Step(&'static str, &'static str),
}

use Work::{Query, Step};

/// The twelve services; the first is the one that users access.
pub(super) static SERVICES: [Service; 12] = [
    Service {
        name: "gateway",
        version: "4.11.2",
        scope: "@opentelemetry/instrumentation-http",
        operations: &[
            ("GET", "/products/{sku}"),
            ("GET", "/search"),
            ("GET", "/cart"),
            ("POST", "/cart/items"),
            ("POST", "/checkout"),
            ("GET", "/orders/{id}"),
        ],
        calls: &[1, 2, 3, 4, 5],
        work: &[
            Step("authenticate", "middleware/auth.js"),
            Step("render", "views/page.js"),
        ],
    },
    Service {
        name: "product-page",
        version: "2.3.0",
        scope: "io.opentelemetry.tomcat-10.0",
        operations: &[("GET", "/pages/product/{sku}"), ("GET", "/pages/home")],
        calls: &[6, 7, 8, 9],
        work: &[Step("PageAssembler.assemble", "PageAssembler.java")],
    },
    Service {
        name: "search",
        version: "1.19.4",
        scope: "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp",
        operations: &[("GET", "/query"), ("GET", "/suggest")],
        calls: &[7, 9],
        work: &[Query(
            "elasticsearch",
            "products",
            "search",
            "POST /products/_search",
        )],
    },
    Service {
        name: "cart",
        version: "3.0.1",
        scope: "io.opentelemetry.netty-4.1",
        operations: &[("GET", "/carts/{user}"), ("POST", "/carts/{user}/items")],
        calls: &[6, 7],
        work: &[
            Query("redis", "cart", "HGETALL", "HGETALL cart:?"),
            Query("redis", "cart", "HSET", "HSET cart:? ? ?"),
        ],
    },
    Service {
        name: "checkout",
        version: "5.2.0",
        scope: "io.opentelemetry.spring-webmvc-6.0",
        operations: &[("POST", "/checkouts"), ("GET", "/checkouts/{id}")],
        calls: &[3, 6, 7, 10, 11],
        work: &[
            Query(
                "postgresql",
                "orders",
                "INSERT",
                "INSERT INTO orders (id, user_id, total) VALUES ($1, $2, $3)",
            ),
            Step("TaxCalculator.total", "TaxCalculator.java"),
        ],
    },
    Service {
        name: "legacy-shop",
        version: "1.0.873",
        scope: "io.opentelemetry.servlet-5.0",
        operations: &[
            ("GET", "/shop/ProductServlet"),
            ("GET", "/shop/OrderServlet"),
        ],
        calls: &[10],
        work: &[
            Query(
                "oracle.db",
                "T_PRODUCT",
                "SELECT",
                "SELECT * FROM T_PRODUCT WHERE SKU = ?",
            ),
            Query(
                "oracle.db",
                "T_ORDER",
                "SELECT",
                "SELECT * FROM T_ORDER WHERE ORDER_ID = ?",
            ),
        ],
    },
    Service {
        name: "inventory",
        version: "2.8.5",
        scope: "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp",
        operations: &[("GET", "/stock/{sku}"), ("POST", "/reservations")],
        calls: &[],
        work: &[
            Query(
                "postgresql",
                "stock",
                "SELECT",
                "SELECT on_hand, reserved FROM stock WHERE sku = $1",
            ),
            Query(
                "postgresql",
                "stock",
                "UPDATE",
                "UPDATE stock SET reserved = reserved + $1 WHERE sku = $2",
            ),
        ],
    },
    Service {
        name: "price",
        version: "1.4.9",
        scope: "opentelemetry.instrumentation.flask",
        operations: &[("GET", "/prices/{sku}"), ("POST", "/quotes")],
        calls: &[],
        work: &[
            Query("redis", "price", "GET", "GET price:?"),
            Step("discounts.apply", "discounts.py"),
        ],
    },
    Service {
        name: "review",
        version: "0.9.14",
        scope: "opentelemetry.instrumentation.fastapi",
        operations: &[("GET", "/reviews/{sku}")],
        calls: &[],
        work: &[Query(
            "mongodb",
            "reviews",
            "find",
            "{\"find\": \"reviews\", \"filter\": {\"sku\": \"?\"}}",
        )],
    },
    Service {
        name: "recommendation",
        version: "7.1.0",
        scope: "opentelemetry.instrumentation.grpc",
        operations: &[("GET", "/recommendations/{user}")],
        calls: &[7],
        work: &[Step("model.rank", "ranker.py")],
    },
    Service {
        name: "payment",
        version: "3.6.2",
        scope: "Microsoft.AspNetCore",
        operations: &[("POST", "/payments"), ("POST", "/refunds")],
        calls: &[],
        work: &[Query(
            "mysql",
            "payments",
            "INSERT",
            "INSERT INTO payments (order_id, amount, state) VALUES (?, ?, ?)",
        )],
    },
    Service {
        name: "shipping",
        version: "1.1.3",
        scope: "tracing-opentelemetry",
        operations: &[("POST", "/shipments"), ("GET", "/shipments/{id}")],
        calls: &[6],
        work: &[Query(
            "postgresql",
            "shipments",
            "INSERT",
            "INSERT INTO shipments (order_id, carrier) VALUES ($1, $2)",
        )],
    },
];

/// Browsers and apps of the shop's users.
pub(super) static USER_AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
    "ShopApp/8.2 (Android 14; Pixel 8; build 8214) okhttp/4.12.0",
    "ShopApp/8.1 (iOS 17.5; iPhone15,2; build 8107) CFNetwork/1496.0.7 Darwin/23.5.0",
];

/// Possible exceptions: type, message, first line of the stack.
pub(super) static EXCEPTIONS: [(&str, &str, &str); 3] = [
    (
        "java.net.SocketTimeoutException",
        "Read timed out",
        "java.base/sun.nio.ch.NioSocketImpl.timedRead(NioSocketImpl.java:278)",
    ),
    (
        "java.lang.IllegalStateException",
        "connection pool exhausted: 20 of 20 in use",
        "com.zaxxer.hikari.pool.HikariPool.createTimeoutException(HikariPool.java:686)",
    ),
    (
        "shop.StockException",
        "no stock row for the requested sku",
        "shop.inventory.StockRepository.lockRow(StockRepository.java:91)",
    ),
];

/// The frames below the first line of a stack trace.
pub(super) const STACK: &str = "
\tat shop.http.RetryInterceptor.intercept(RetryInterceptor.java:57)
\tat shop.http.CircuitBreakerInterceptor.intercept(CircuitBreakerInterceptor.java:43)
\tat shop.http.ServiceClient.execute(ServiceClient.java:118)
\tat shop.api.ResourceHandler.handle(ResourceHandler.java:74)
\tat org.springframework.web.servlet.FrameworkServlet.service(FrameworkServlet.java:885)
\tat jakarta.servlet.http.HttpServlet.service(HttpServlet.java:658)
\tat org.apache.catalina.core.ApplicationFilterChain.doFilter(ApplicationFilterChain.java:140)
\tat org.apache.tomcat.util.net.NioEndpoint$SocketProcessor.doRun(NioEndpoint.java:1740)
\tat java.base/java.lang.Thread.run(Thread.java:1583)";
