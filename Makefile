# Thin: every target is one or two commands that can be typed by hand.
.PHONY: all deps deps-test deps-bench build build-asan demo test test-release test-asan bench bench-quick fmt lint fuzz load package clean
.DEFAULT_GOAL := build

JOBS ?= $(shell nproc)

deps:
	@docker/install-packages.sh build run demo

deps-test: deps
	@docker/install-packages.sh test
	@docker/install-node.sh
	@cd tests && if ! cmp -s package-lock.json node_modules/.lock-installed; then npm ci --no-audit --no-fund --loglevel=error && cp package-lock.json node_modules/.lock-installed; fi

deps-bench: deps
	@docker/install-packages.sh bench

build: deps
	@test -f build/build.ninja || cmake --preset release >/dev/null
	@cmake --build build -j $(JOBS) --target exec-gateway guest-agent

demo: build
	@conf/demo/demo.sh

test: deps-test lint test-release test-asan

test-release:
	@cmake --preset release >/dev/null && cmake --build build -j $$(( $(JOBS) + 1 ))
	@ctest --test-dir build --output-on-failure --no-tests=error --repeat until-pass:3 -j $$(( $(JOBS) + 1 ))

test-asan:
	@cmake --preset asan >/dev/null && cmake --build build-asan -j $(JOBS)
	@ctest --test-dir build-asan --output-on-failure --no-tests=error --repeat until-pass:3 -j $$(( $(JOBS) + 1 ))

bench: build deps-bench
	@bench/bench.py $(ARGS)

bench-quick: build deps-bench
	@bench/count.py

# make load SCENARIO=unary ARGS="--redis --duration 1m"; without a scenario it lists them
load: deps
	@test -f build/build.ninja || cmake --preset release >/dev/null
	@cmake --build build -j $(JOBS) --target exec-gateway guest-agent exec-load exec-load-emit exec-load-app
	@tests/load/run $(SCENARIO) $(ARGS)

# build/packages/exec-gateway_<version>_<arch>.deb and guest-agent_…
package: build
	@docker/install-packages.sh package
	@cmake --build build -j $(JOBS) --target exec-load exec-load-emit exec-load-app
	@cd build && cpack -G DEB -B packages >cpack.log || { cat cpack.log; exit 1; }
	@rm -rf build/packages/_CPack_Packages; ls build/packages/*.deb

fmt:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

lint:
	@tests/lint/lint.sh

fuzz:
	@cmake --preset fuzz >/dev/null && cmake --build build-fuzz -j $(JOBS)

clean:
	@rm -rf build build-*
