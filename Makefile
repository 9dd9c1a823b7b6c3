# glha: build, test, show and install. `make help` lists the targets.

PREFIX = /usr/local
SYSCONFDIR = /etc
DESTDIR =
# Empty: no systemd units.
UNITDIR = $(PREFIX)/lib/systemd/system
# Empty: no init script, no tmpfiles.d entry, no logrotate entry.
INITDIR = $(SYSCONFDIR)/init.d
TMPFILESDIR = $(PREFIX)/lib/tmpfiles.d
LOGROTATEDIR = $(SYSCONFDIR)/logrotate.d
# A command of that name, as other programs look for one: KEEPALIVED_LINK=/usr/local/sbin/keepalived.
# Empty: none. It never replaces a file.
KEEPALIVED_LINK =
CARGO = cargo
# What is installed and packed: a copy, since cargo may build anywhere (CARGO_TARGET_DIR, target-dir,
# build.target).
BIN = target/glha

SBIN = $(DESTDIR)$(PREFIX)/sbin
MAN = $(DESTDIR)$(PREFIX)/share/man
SHARE = $(DESTDIR)$(PREFIX)/share/glha
LIB = $(DESTDIR)$(PREFIX)/lib/glha
ETC = $(DESTDIR)$(SYSCONFDIR)/glha
UNITS = glha.service glha-release.service glha@.service glha-release@.service
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

all: build

# $(call built,BUILD,TO): cargo says where it has put the program.
built = set -e; said=$$($(CARGO) $(1) --release --locked --bin glha --message-format=json-render-diagnostics); \
    built=$$(printf '%s\n' "$$said" | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1); \
    install -D -m 755 "$$built" $(2)

build:
	@$(call built,build,target/glha)

help:
	@echo 'make            build the release binary'
	@echo 'make test       pass all tests; as root on Debian it installs what they lack'
	@echo 'make sim        play SEEDS random worlds of faulty nodes (100,000, some minutes)'
	@echo 'make sim-mutants  show that it catches planted faults'
	@echo 'make chaos      disturb pairs of real nodes, CHAOS (30) plans of a minute or two'
	@echo 'make bench      measure glha beside keepalived, RUNS (5) times each (root; some minutes)'
	@echo 'make vm         two emulated machines with systemd, from keepalived to glha and back (root)'
	@echo 'make check      format, lints, shell scripts, manual pages'
	@echo 'make demo       show a failover for real, in namespaces of this machine (root)'
	@echo 'make install    to $(SBIN), $(MAN), $(ETC); units to $(UNITDIR)'
	@echo 'make uninstall  take it away again, but no hook that was edited'
	@echo 'make deb        build a Debian package, in target/deb'
	@echo 'make rpm        build an rpm package, in target/rpm'
	@echo 'make dist       pack the sources, in target/dist'
	@echo 'make dist-binary  build for older systems (glibc $(GLIBC)) with zig, in target/dist'

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

# What hosts do to a pair of real nodes, drawn from seeds: CHAOS says how many, a minute or two each.
CHAOS = 30
chaos: means
	GLHA_CHAOS_SEEDS=$(CHAOS) $(CARGO) test --locked --test chaos -- --test-threads=3

# glha beside keepalived in the same run, each RUNS times; ONLY names parts, SVG a picture, QUICK=1 is a minute
# (tests/bench/bench.py --help).
RUNS = 5
ONLY =
SVG =
QUICK =
bench: build means
	python3 tests/bench/bench.py $(if $(QUICK),--quick,--runs $(RUNS)) $(if $(ONLY),--only $(ONLY)) \
	    $(if $(SVG),--svg $(SVG)) --glha $(BIN)

# The package on two machines with Debian's kernel and systemd: VM names scenarios of tests/vm; without it
# they are all of tests/vm/scenarios.rs, and VM=storage plays those of tests/vm/storage.rs. What they are started from stays in target/vm.
VM =
vm:
	tests/vm/means.sh
	$(MAKE) build deb
	@set -e; set -- target/deb/glha_*.deb; \
	GLHA_VM='$(VM)' GLHA_VM_DEB="$(CURDIR)/$$1" $(CARGO) test --locked --test vm -- --ignored --nocapture

check: fmt clippy shell man

fmt:
	@$(CARGO) fmt --version >/dev/null || { echo 'rustfmt is missing: rustup component add rustfmt'; exit 1; }
	$(CARGO) fmt --check

clippy:
	@$(CARGO) clippy --version >/dev/null || { echo 'clippy is missing: rustup component add clippy'; exit 1; }
	$(CARGO) clippy --locked --all-targets -- -D warnings

shell:
	find . \( -name target -o -name data -o -name .git \) -prune -o -type f \( -name '*.sh' -o -path './.ci/run' -o -path './etc/glha.init' \) -exec shellcheck {} +

man:
	mandoc -Tlint -W warning man/*.[578]

demo: means
	$(CARGO) run --release --locked --example demo

target/glha:
	$(MAKE) build

# Files of this tree are written for /usr/local and /etc; $(call placed,FILE,TO) puts them elsewhere.
placed = sed -E -e 's,/usr/local/(sbin/glha|lib/|share/),$(PREFIX)/\1,g' \
    -e 's,/etc/(default|glha)/,$(SYSCONFDIR)/\1/,g' $(1) >$(2)

# A hook that differs from the one installed last was edited: it stays, the new one goes beside it.
# What mount.sh stands on (hooks/lib) is nobody's to edit, and always replaced.
# Settings that are there stay.
install: $(BIN)
	install -d $(SBIN) $(MAN)/man5 $(MAN)/man7 $(MAN)/man8 $(ETC)/hooks $(SHARE)/hooks
	install -m 755 $(BIN) $(SBIN)/glha
	for page in man/*.[578]; do \
	    to=$(MAN)/man$${page##*.}/$${page#man/} && $(call placed,$$page,$$to) && chmod 644 $$to || exit; \
	done
	install -m 644 etc/glha.conf.example $(ETC)/glha.conf.example
	install -m 644 etc/event.schema.json etc/glha.alerts.yml etc/glha.dashboard.json $(SHARE)/
	install -m 644 etc/vrrp-mib.py $(SHARE)/
	$(call placed,etc/as-keepalived.conf,$(SHARE)/as-keepalived.conf) && chmod 644 $(SHARE)/as-keepalived.conf
	install -d $(LIB)
	ln -sf ../../sbin/glha $(LIB)/keepalived
	@to=$(KEEPALIVED_LINK); [ -z "$$to" ] || { to=$(DESTDIR)$$to; \
	    if [ -e "$$to" ] && ! [ "$$to" -ef $(SBIN)/glha ]; then echo "$$to is another program and stays"; exit 1; fi; \
	    install -d "$$(dirname "$$to")" && ln -sfn $(PREFIX)/lib/glha/keepalived "$$to"; }
	install -d $(DESTDIR)$(SYSCONFDIR)/default
	[ -e $(DESTDIR)$(SYSCONFDIR)/default/glha ] || install -m 644 etc/glha.default $(DESTDIR)$(SYSCONFDIR)/default/glha
	[ -z "$(UNITDIR)" ] || install -d $(DESTDIR)$(UNITDIR)
	[ -z "$(UNITDIR)" ] || for u in $(UNITS); do \
	    $(call placed,etc/$$u,$(DESTDIR)$(UNITDIR)/$$u) && chmod 644 $(DESTDIR)$(UNITDIR)/$$u || exit; \
	done
	[ -z "$(INITDIR)" ] || install -d $(DESTDIR)$(INITDIR)
	[ -z "$(INITDIR)" ] || { $(call placed,etc/glha.init,$(DESTDIR)$(INITDIR)/glha) && chmod 755 $(DESTDIR)$(INITDIR)/glha; }
	[ -z "$(TMPFILESDIR)" ] || install -D -m 644 etc/glha.tmpfiles $(DESTDIR)$(TMPFILESDIR)/glha.conf
	[ -z "$(LOGROTATEDIR)" ] || install -D -m 644 etc/glha.logrotate $(DESTDIR)$(LOGROTATEDIR)/glha
	rm -rf $(SHARE)/lib
	install -d $(SHARE)/lib
	install -m 644 hooks/lib/*.sh $(SHARE)/lib/
	ln -sfn $(PREFIX)/share/glha/lib $(ETC)/hooks/lib
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
	@to=$(DESTDIR)$(SYSCONFDIR)/default/glha; \
	if cmp -s $$to etc/glha.default; then rm -f $$to; elif [ -e $$to ]; then echo "$$to was edited and stays"; fi
	rm -f $(SBIN)/glha $(MAN)/man8/glha.8 $(MAN)/man5/glha.conf.5 $(MAN)/man7/glha-hooks.7 $(ETC)/glha.conf.example
	[ -z "$(UNITDIR)" ] || for u in $(UNITS); do rm -f $(DESTDIR)$(UNITDIR)/$$u; done
	[ -z "$(INITDIR)" ] || rm -f $(DESTDIR)$(INITDIR)/glha
	[ -z "$(TMPFILESDIR)" ] || rm -f $(DESTDIR)$(TMPFILESDIR)/glha.conf
	[ -z "$(LOGROTATEDIR)" ] || rm -f $(DESTDIR)$(LOGROTATEDIR)/glha
	@to=$(KEEPALIVED_LINK); [ -z "$$to" ] || { to=$(DESTDIR)$$to; \
	    if [ "$$(readlink "$$to")" = $(PREFIX)/lib/glha/keepalived ]; then rm -f "$$to"; fi; }
	[ ! -L $(ETC)/hooks/lib ] || rm -f $(ETC)/hooks/lib
	rm -rf $(SHARE) $(LIB)
	-rmdir $(ETC)/hooks $(ETC) 2>/dev/null

# The sources as they are committed.
dist:
	mkdir -p target/dist
	git archive --prefix=glha-$(VERSION)/ -o target/dist/glha-$(VERSION).tar.gz HEAD
	@echo target/dist/glha-$(VERSION).tar.gz

# A binary that runs where the C library is as old as GLIBC: 2.28 is that of RHEL 8 and Debian 10. zig links it.
GLIBC = 2.28
MACHINE = $(shell uname -m)
OLD = target/dist/glha-$(VERSION)-$(MACHINE)-glibc$(GLIBC)
dist-binary:
	@command -v cargo-zigbuild >/dev/null || { echo 'cargo-zigbuild is missing: pip install ziglang cargo-zigbuild'; exit 1; }
	@$(call built,zigbuild --target $(MACHINE)-unknown-linux-gnu.$(GLIBC),$(OLD))
	tests/glibc.sh $(OLD) $(GLIBC)

# A package for this machine's Debian, of the binary BIN, which cargo has built already.
deb: $(BIN)
	@command -v dh >/dev/null || { echo 'debhelper is missing: apt-get install debhelper'; exit 1; }
	rm -rf target/deb
	mkdir -p target/deb/glha
	tar -c --exclude=./target --exclude=./.git . | tar -x -C target/deb/glha
	cd target/deb/glha && GLHA_BIN=$(abspath $(BIN)) dpkg-buildpackage -b -us -uc -d
	@ls target/deb/*.deb

# The same for systems with rpm.
rpm: $(BIN)
	@command -v rpmbuild >/dev/null || { echo 'rpmbuild is missing: apt-get install rpm'; exit 1; }
	rm -rf target/rpm
	mkdir -p target/rpm
	rpmbuild --quiet -bb --build-in-place -D '_topdir $(CURDIR)/target/rpm' -D 'glha_bin $(abspath $(BIN))' \
	    -D 'glha_version $(VERSION)' rpm/glha.spec
	@ls target/rpm/RPMS/*/*.rpm

.PHONY: all bench build help test means sim sim-mutants chaos vm check fmt clippy shell man demo install uninstall dist dist-binary deb rpm
