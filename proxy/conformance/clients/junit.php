<?php
// Turns a JUnit report into results: `pass|fail|skip<TAB>class: test`.
// php junit.php REPORT.XML
$report = simplexml_load_file($argv[1]);
if ($report === false) {
    exit(1);
}
foreach ($report->xpath('//testcase') as $test) {
    $verdict = isset($test->failure) || isset($test->error) ? 'fail' : (isset($test->skipped) ? 'skip' : 'pass');
    // Names of tests may hold the data they are given.
    $name = preg_replace_callback(
        '/[^\x20-\x7e]/',
        fn ($byte) => sprintf('\x%02x', ord($byte[0])),
        "{$test['class']}: {$test['name']}"
    );
    echo "$verdict\t$name\n";
}
