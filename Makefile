# glha: build, test, show and install. `make help` lists the targets.

PREFIX = /usr/local
SYSCONFDIR = /etc
DESTDIR =
CARGO = cargo

SBIN = $(DESTDIR)$(PREFIX)/sbin
MAN = $(DESTDIR)$(PREFIX)/share/man
SHARE = $(DESTDIR)$(PREFIX)/share/glha
ETC = $(DESTDIR)$(SYSCONFDIR)/glha

all:
	$(CARGO) build --release --locked

help:
	@echo 'make            build the release binary'
	@echo 'make test       pass all tests; as root on Debian it installs what they lack'
	@echo 'make sim        play SEEDS random worlds of faulty nodes (100,000, some minutes)'
	@echo 'make sim-mutants  show that it catches planted faults'
	@echo 'make check      format, lints, shell scripts, manual pages'
	@echo 'make demo       show a failover for real, in namespaces of this machine (root)'
	@echo 'make install    to $(SBIN), $(MAN), $(ETC)'
	@echo 'make uninstall  take it away again, but no hook that was edited'

# The tests' means first, cargo's results last.
test: means check
	tests/all.sh $(CARGO)

means:
	tests/means.sh

# Random worlds: SEEDS says how many, FIRST where to begin.
SEEDS = 100000
FIRST = 1
sim:
	GLHA_SEEDS=$(SEEDS) GLHA_FIRST=$(FIRST) $(CARGO) test --locked --profile sim --test sim -- --nocapture

# Faults that are planted one at a time, each of which the simulator must catch.
sim-mutants:
	$(CARGO) test --locked --test mutants -- --include-ignored --nocapture

check: fmt clippy shell man

fmt:
	@$(CARGO) fmt --version >/dev/null || { echo 'rustfmt is missing: rustup component add rustfmt'; exit 1; }
	$(CARGO) fmt --check

clippy:
	@$(CARGO) clippy --version >/dev/null || { echo 'clippy is missing: rustup component add clippy'; exit 1; }
	$(CARGO) clippy --locked --all-targets -- -D warnings

shell:
	find . \( -name target -o -name data -o -name .git \) -prune -o -type f \( -name '*.sh' -o -path './.ci/run' \) -exec shellcheck {} +

man:
	mandoc -Tlint -W warning man/*.[578]

demo: means
	$(CARGO) run --release --locked --example demo

target/release/glha:
	$(CARGO) build --release --locked

# A hook that differs from the one installed last was edited: it stays, the new one goes beside it.
install: target/release/glha
	install -d $(SBIN) $(MAN)/man5 $(MAN)/man7 $(MAN)/man8 $(ETC)/hooks $(SHARE)/hooks
	install -m 755 target/release/glha $(SBIN)/glha
	for s in 5 7 8; do install -m 644 man/*.$$s $(MAN)/man$$s/ || exit; done
	install -m 644 etc/glha.conf.example $(ETC)/glha.conf.example
	install -m 644 etc/event.schema.json $(SHARE)/event.schema.json
	@for hook in hooks/*.sh; do \
	    to=$(ETC)/$$hook last=$(SHARE)/$$hook; \
	    if [ ! -e $$to ] || cmp -s $$to $$last; then install -m 755 $$hook $$to && rm -f $$to.new; \
	    elif ! cmp -s $$hook $$to; then install -m 755 $$hook $$to.new && echo "$$to was edited and stays; the new one is $$to.new"; \
	    fi && install -m 644 $$hook $$last || exit; \
	done

uninstall:
	@for hook in hooks/*.sh; do \
	    to=$(ETC)/$$hook; rm -f $$to.new; \
	    if cmp -s $$to $(SHARE)/$$hook; then rm -f $$to; elif [ -e $$to ]; then echo "$$to was edited and stays"; fi; \
	done
	rm -f $(SBIN)/glha $(MAN)/man8/glha.8 $(MAN)/man5/glha.conf.5 $(MAN)/man7/glha-hooks.7 $(ETC)/glha.conf.example
	rm -rf $(SHARE)
	-rmdir $(ETC)/hooks $(ETC) 2>/dev/null

.PHONY: all help test means sim sim-mutants check fmt clippy shell man demo install uninstall
