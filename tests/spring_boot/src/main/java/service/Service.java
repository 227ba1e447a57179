package service;

import io.github.resilience4j.circuitbreaker.annotation.CircuitBreaker;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.actuate.web.exchanges.HttpExchangeRepository;
import org.springframework.boot.actuate.web.exchanges.InMemoryHttpExchangeRepository;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** A service with a circuit breaker, which registers as a client of Spring Boot Admin. */
@SpringBootApplication
@RestController
public class Service {
    public static void main(String[] arguments) {
        SpringApplication.run(Service.class, arguments);
    }

    @GetMapping("/stock")
    @CircuitBreaker(name = "stock")
    public String stock() {
        return "7";
    }

    @Bean
    public HttpExchangeRepository exchanges() {
        return new InMemoryHttpExchangeRepository();
    }
}
