# Two commands: `make demo` chats with the bundled model, `make test` runs everything.
.PHONY: demo build test fuzz format tidy bench

demo: build
	@tools/demo.sh

build:
	@./setup.sh
	@cmake --preset release -DHEED_TESTS=OFF -DHEED_BENCH=OFF -DHEED_UNITY=ON >/dev/null
	@cmake --build --preset release --target heed

test:
	@./setup.sh --test
	@tools/test.sh

# Each fuzz target for SECONDS (default 300).
fuzz:
	@./setup.sh --test
	@tools/fuzz.sh $(or $(SECONDS),300)

format:
	@git ls-files '*.cpp' '*.h' '*.cu' | xargs clang-format -i

bench:
	@./setup.sh --test
	@cmake --preset release -DHEED_BENCH=ON >/dev/null
	@cmake --build --preset release --target heed heed_bench_engine
	@build/release/heed bench ops
	@build/release/bench/heed_bench_engine
