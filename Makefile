# All commands, for people and for .ci/run. They need Go; .ci/prerequisites finds or
# installs other programs.

lint := go tool -modfile=$(CURDIR)/.ci/tools/go.mod golangci-lint

.DEFAULT_GOAL := help
.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## start Flaggery with a database and sample data (ARGS=--empty: without); Ctrl-C stops it, the data stays in .flaggery/
	@.ci/prerequisites postgresql
	@test -e .bin/flaggery-admin || echo 'Compiling: on a new machine this takes some minutes.'
	@go build -o .bin/ ./cmd/flaggery-admin
	@exec .bin/flaggery-admin dev $(ARGS)

.PHONY: test
test: ## run all tests with the race detector, against a PostgreSQL that they start themselves
	@.ci/prerequisites postgresql pgbouncer compiler
	go test -race -timeout 30m $$(go list ./... | grep -v /pkg/faults$$)
	go test -race -timeout 30m ./pkg/faults # alone: it takes the whole machine, and holds services to their times
	go -C pkg/bench test -race .

.PHONY: test-faults
test-faults: ## cause every fault of docs/reliability.md at full length: 45 minutes, as root on Linux
	@.ci/prerequisites postgresql pgbouncer
	go test ./pkg/faults -full -parallel 1 -timeout 3h -v $(ARGS)

.PHONY: test-deploy
test-deploy: ## check images, compose, chart, rules and dashboards with their tools (the first run builds these: some minutes)
	@.ci/prerequisites postgresql nginx haproxy systemd
	cd deploy/test && go test ./...

.PHONY: test-clients
test-clients: ## run third-party clients against both services: a browser, OpenFeature's SDKs
	@.ci/prerequisites postgresql browser node
	cd pkg/e2e/clients/js && npm ci --ignore-scripts --no-audit --no-fund
	cd pkg/console/ui && npm ci --ignore-scripts --no-audit --no-fund
	cd pkg/e2e/clients && go test -timeout 30m ./...

.PHONY: update-deploy
update-deploy: ## render the chart to deploy/kubernetes and the tests' expectations
	cd deploy/test && go test . -run TestChart -update

.PHONY: console
console: ## build the web console from pkg/console/ui into pkg/console/dist, which is committed
	@.ci/prerequisites node
	cd pkg/console/ui && npm ci --ignore-scripts --no-audit --no-fund && npm run --silent types && npm run --silent check && npm run --silent build

.PHONY: check-console
check-console: ## check that the built console is the one of its sources
	@.ci/prerequisites node
	cd pkg/console/ui && npm ci --ignore-scripts --no-audit --no-fund && npm run --silent types && npm run --silent check && CONSOLE_DIST=../../../.bin/console npm run --silent build -- --logLevel warn
	@git diff --exit-code --stat -- pkg/console/ui/src/contract.d.ts && diff -r .bin/console pkg/console/dist > /dev/null || { echo "pkg/console/dist is not built from pkg/console/ui: run 'make console' and commit both" >&2; exit 1; }

.PHONY: console-dev
console-dev: ## serve the console from its sources, beside a "make run" on port 8080
	@.ci/prerequisites node
	cd pkg/console/ui && npm ci --ignore-scripts --no-audit --no-fund && npm run dev

.PHONY: pictures
pictures: ## take the pictures of docs/console.md from the sample data
	@.ci/prerequisites postgresql browser
	cd pkg/e2e/clients && go test -run TestPictures . -pictures

.PHONY: build
build: ## build both programs into .bin/
	go build -o .bin/ ./cmd/...

.PHONY: fmt
fmt: ## format the code
	gofmt -w .

.PHONY: lint
lint: ## check formatting and style (the first run builds golangci-lint: some minutes)
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not formatted, run 'make fmt':" $$unformatted >&2; exit 1; }
	go vet ./...
	$(lint) run
	cd pkg/bench && go vet ./... && $(lint) run --config ../../.golangci.yml
	cd deploy/test && go vet ./... && $(lint) run --config ../../.golangci.yml
	cd pkg/e2e/clients && go vet ./... && $(lint) run --config ../../../.golangci.yml

.PHONY: vulncheck
vulncheck: ## look up the programs in Go's vulnerability database
	@.ci/vulncheck

.PHONY: sbom
sbom: ## write the components of both programs and of the console to .bin/*.cdx.json (CycloneDX)
	@mkdir -p .bin
	for program in flaggery-admin flaggery-edge; do \
		go run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0 app -json -licenses -main cmd/$$program -output .bin/$$program.cdx.json . || exit 1; \
	done
	cd pkg/console/ui && npm ci --ignore-scripts --no-audit --no-fund --silent && npm sbom --sbom-format cyclonedx > $(CURDIR)/.bin/console.cdx.json

.PHONY: bench
bench: ## measure every goal beside its reference and write docs/benchmarks.md: about a quarter of an hour
	@.ci/prerequisites postgresql
	go -C pkg/bench run . -markdown ../../docs/benchmarks.md

.PHONY: bench-quick
bench-quick: ## the same at a smaller scale, in two minutes, without writing the page
	@.ci/prerequisites postgresql
	go -C pkg/bench run . -quick

.PHONY: bench-peers
bench-peers: ## measure other flag systems beside ours and write docs/benchmarks-peers.md
	@.ci/prerequisites postgresql
	go -C pkg/bench run . -peers -markdown ../../docs/benchmarks-peers.md

.PHONY: clean
clean: ## remove the built programs and the development database with its data
	rm -rf .bin .flaggery
