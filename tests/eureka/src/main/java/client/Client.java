package client;

import java.util.List;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.client.discovery.DiscoveryClient;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;

/** A service that lists the instances of others that it finds. */
@SpringBootApplication
@RestController
public class Client {
    private final DiscoveryClient discovery;

    public Client(DiscoveryClient discovery) {
        this.discovery = discovery;
    }

    public static void main(String[] arguments) {
        SpringApplication.run(Client.class, arguments);
    }

    @GetMapping("/found/{service}")
    public List<String> found(@PathVariable("service") String service) {
        return discovery.getInstances(service).stream().map(instance -> instance.getUri().toString()).toList();
    }
}
