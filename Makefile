# What people type. Each target sets up what it needs by itself; see scripts/.

CARGO = scripts/cargo
PREFIX ?= /usr/local
DESTDIR ?=
INSTALL ?= install
TARGET = $${CARGO_TARGET_DIR:-target}

bindir = $(DESTDIR)$(PREFIX)/bin
datadir = $(DESTDIR)$(PREFIX)/share

.PHONY: help build demo test check bench install uninstall clean

help:
	@echo "make build     the command, optimised: target/release/ckpt"
	@echo "make demo      move a running container from one host to another, on this machine"
	@echo "make test      every test; as root also those on real hosts"
	@echo "make check     format, lints, documentation, generated files"
	@echo "make bench     speed, memory and disk beside podman and beside runc with tar (root; half an hour)"
	@echo "make install   the command, man pages and completions, below PREFIX (and DESTDIR)"
	@echo "make clean     what was built here"

build:
	$(CARGO) build --release --locked

demo:
	scripts/demo

test:
	scripts/test

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc --locked --no-deps --document-private-items
	$(CARGO) test --locked --test docs --test schemas
	$(CARGO) run --quiet --locked --manifest-path tools/protos/Cargo.toml -- --check

bench: build
	scripts/bench

install: build
	$(INSTALL) -d $(bindir) $(datadir)/man/man1 $(datadir)/bash-completion/completions \
	  $(datadir)/zsh/site-functions $(datadir)/fish/vendor_completions.d $(datadir)/doc/ckpt
	$(INSTALL) -m 755 $(TARGET)/release/ckpt $(bindir)/ckpt
	$(INSTALL) -m 644 docs/man/*.1 $(datadir)/man/man1/
	$(INSTALL) -m 644 README.md CHANGELOG.md LICENSE docs/*.md $(datadir)/doc/ckpt/
	$(bindir)/ckpt completions bash > $(datadir)/bash-completion/completions/ckpt
	$(bindir)/ckpt completions zsh > $(datadir)/zsh/site-functions/_ckpt
	$(bindir)/ckpt completions fish > $(datadir)/fish/vendor_completions.d/ckpt.fish

uninstall:
	rm -f $(bindir)/ckpt $(datadir)/man/man1/ckpt.1 $(datadir)/man/man1/ckpt-*.1
	rm -f $(datadir)/bash-completion/completions/ckpt $(datadir)/zsh/site-functions/_ckpt
	rm -f $(datadir)/fish/vendor_completions.d/ckpt.fish
	rm -rf $(datadir)/doc/ckpt

clean:
	$(CARGO) clean
