# Looking up known vulnerabilities of what is pinned. Sourced by check.

# audit_lock LOCK: run pip-audit, when it is installed and its service can be reached. Prints what it finds; 0 when there is
# nothing known, 1 when there is, 2 when it could not be asked (then it says why).
audit_lock() {
    local lock=$1 output status=0
    if [[ ! -x $VENV/bin/pip-audit ]]; then
        echo "pip-audit is not installed: known vulnerabilities were not looked up (.venv/bin/pip install pip-audit)"
        return 2
    fi
    output=$(timeout 60 "$VENV/bin/pip-audit" --progress-spinner off --require-hashes --disable-pip --timeout 10 -r "$lock" 2>&1) ||
        status=$?
    if [[ $status -eq 0 ]]; then
        if ! grep -q 'could not be audited' <<<"$output"; then return 0; fi
        echo "the index has no advisories for $(grep -c 'could not be audited' <<<"$output") of the packages"
        return 2
    fi
    if grep -q -i -E 'Found [0-9]+ known' <<<"$output"; then
        printf '%s\n' "$output"
        return 1
    fi
    echo "the advisory service could not be asked: $(tail -n 1 <<<"$output")"
    return 2
}
