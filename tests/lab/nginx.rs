//! The service of the original: nginx, whose files lie on the shared disk.

use super::host::Host;

/// Where the original has its data.
pub const MOUNT_POINT: &str = "/home/git/gitlab-data";

/// Gives the host an nginx that serves the shared disk and says in `X-Host` who answers.
/// `service nginx start` starts it.
pub fn configure(host: &Host) {
    super::require(&["nginx", "ps", "service"]);
    host.write(
        "/etc/nginx/nginx.conf",
        &format!(
            "user root;
worker_processes 1;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events {{
    worker_connections 64;
}}
http {{
    access_log off;
    server {{
        listen 0.0.0.0:80;
        root {MOUNT_POINT};
        add_header X-Host {} always;
    }}
}}
",
            host.name
        ),
    );
}

/// From now on nginx cannot be started on the host, and it does not run.
pub fn destroy(host: &Host) {
    host.write("/etc/nginx/nginx.conf", "pid /run/nginx.pid;\nthis is not a configuration\n");
    host.signal("nginx", nix::sys::signal::Signal::SIGKILL);
}
