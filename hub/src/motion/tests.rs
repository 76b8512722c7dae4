//! Scenes made of numbers: what is motion and what is not.

use super::*;

const WIDTH: usize = 768;
const HEIGHT: usize = 576;

/// A street: a coarse texture of grey values from 60 to 159 that does not move.
fn street() -> Vec<u8> {
    let mut picture = vec![0; WIDTH * HEIGHT];
    for (y, line) in picture.chunks_exact_mut(WIDTH).enumerate() {
        for (x, pixel) in line.iter_mut().enumerate() {
            *pixel = (60 + (x / 24 * 37 + y / 24 * 61) % 100) as u8;
        }
    }
    picture
}

/// Somebody: a box of one grey value. What is outside the picture is cut off.
fn put(picture: &mut [u8], left: usize, top: usize, width: usize, height: usize, value: u8) {
    for line in picture.chunks_exact_mut(WIDTH).skip(top).take(height) {
        line[left.min(WIDTH)..(left + width).min(WIDTH)].fill(value);
    }
}

/// The same numbers every time.
struct Noise(u64);

impl Noise {
    fn number(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// Adds up to `most` grey values either way to every pixel.
    fn onto(&mut self, picture: &mut [u8], most: i16) {
        for pixel in picture {
            let noise = (self.number() % (2 * most as u64 + 1)) as i16 - most;
            *pixel = (i16::from(*pixel) + noise).clamp(0, 255) as u8;
        }
    }
}

/// A camera: pictures in, five a second.
struct Camera {
    detector: MotionDetector,
    at_ms: u64,
    interval_ms: u64,
}

impl Camera {
    fn new(values: MotionValues) -> Self {
        Self {
            detector: MotionDetector::new(MotionSettings::new(values).unwrap()),
            at_ms: 1_000,
            interval_ms: PICTURE_INTERVAL_MS,
        }
    }

    /// One that has learned the street.
    fn watching(values: MotionValues) -> Self {
        let mut camera = Self::new(values);
        let scenes: Vec<_> = (0..8).map(|_| camera.see(&street())).collect();
        assert_eq!(scenes[..4], [Scene::Calibrating; 4]);
        assert_eq!(scenes[4..], [Scene::Still; 4]);
        camera
    }

    fn look(&mut self, picture: &[u8]) -> Verdict<'_> {
        self.at_ms += self.interval_ms;
        let luma = Luma::new(WIDTH, HEIGHT, WIDTH, picture).unwrap();
        self.detector.handle_picture(luma, self.at_ms)
    }

    fn see(&mut self, picture: &[u8]) -> Scene {
        self.look(picture).scene
    }

    /// Somebody walks through the picture from the left, ten steps; answers the step from which on it
    /// is called motion.
    fn see_walk(&mut self, left: usize, top: usize) -> Option<usize> {
        let mut first = None;
        for step in 0..10 {
            let mut picture = street();
            put(&mut picture, left + step * 20, top, 40, 100, 20);
            if self.see(&picture) == Scene::Moving && first.is_none() {
                first = Some(step);
            }
        }
        first
    }
}

fn polygon(points: &[(u16, u16)]) -> Polygon {
    Polygon::new(points.iter().map(|(x, y)| Point { x: *x, y: *y }).collect()).unwrap()
}

fn left_half() -> Polygon {
    polygon(&[(0, 0), (500, 0), (500, 1000), (0, 1000)])
}

#[test]
fn somebody_who_walks_is_found_at_the_third_picture() {
    let mut camera = Camera::watching(MotionValues::default());
    assert_eq!(camera.see_walk(100, 200), Some(2));
    // Where they are is said, and the walk is over when the last of five pictures without is seen.
    let mut picture = street();
    put(&mut picture, 400, 200, 40, 100, 20);
    let verdict = camera.look(&picture);
    let region = verdict.regions[0];
    assert_eq!(verdict.score(), region.area_permille);
    // 40 x 100 of 768 x 576 are 9 thousandths; one cell more on every side.
    assert!((9..=25).contains(&region.area_permille), "{region:?}");
    assert!((500..=521).contains(&region.left) && (572..=595).contains(&region.right));
    assert!((320..=348).contains(&region.top) && (520..=545).contains(&region.bottom));
    let scenes: Vec<_> = (0..4).map(|_| camera.see(&street())).collect();
    assert_eq!(scenes[3], Scene::Still);
}

#[test]
fn a_still_scene_and_noise_are_no_motion() {
    let mut camera = Camera::watching(MotionValues::default());
    let mut noise = Noise(7);
    for index in 0..60 {
        let mut picture = street();
        if index >= 20 {
            noise.onto(&mut picture, 16);
        }
        let verdict = camera.look(&picture);
        assert_eq!((verdict.scene, verdict.regions), (Scene::Still, &[][..]));
    }
    // And they do not make it blind.
    assert!(camera.see_walk(100, 200).is_some());
}

#[test]
fn a_switched_light_is_learned_and_no_motion() {
    for brighter in [80_i16, -50] {
        let mut camera = Camera::watching(MotionValues::default());
        let mut picture = street();
        for pixel in &mut picture {
            *pixel = (i16::from(*pixel) + brighter).clamp(0, 255) as u8;
        }
        let first = camera.look(&picture);
        assert_eq!(first.scene, Scene::Calibrating, "{brighter}");
        assert!(first.changed_permille > 600, "{}", first.changed_permille);
        let scenes: Vec<_> = (0..60).map(|_| camera.see(&picture)).collect();
        assert!(!scenes.contains(&Scene::Moving), "{brighter}");
        assert_eq!(scenes[8..], [Scene::Still; 52], "{brighter}");
        // What moves in the new light is found.
        put(
            &mut picture,
            300,
            300,
            60,
            120,
            if brighter > 0 { 60 } else { 200 },
        );
        let scenes: Vec<_> = (0..3).map(|_| camera.see(&picture)).collect();
        assert_eq!(scenes[2], Scene::Moving, "{brighter}");
    }
}

#[test]
fn what_moves_behind_a_mask_or_outside_all_zones_is_nothing() {
    let masked = MotionValues {
        masks: vec![left_half()],
        ..MotionValues::default()
    };
    let zoned = MotionValues {
        zones: vec![Zone {
            name: "drive".into(),
            polygon: polygon(&[(550, 0), (1000, 0), (1000, 1000), (550, 1000)]),
        }],
        ..MotionValues::default()
    };
    for values in [masked, zoned] {
        let mut camera = Camera::watching(values);
        assert_eq!(camera.see_walk(50, 200), None);
        assert_eq!(camera.see_walk(500, 200), Some(2));
    }
}

#[test]
fn what_is_too_small_or_differs_too_little_is_nothing() {
    // (values, side of the thing in pixels, its grey value above the background's, whether it counts)
    let small = MotionValues::default();
    let large = MotionValues {
        min_area_permille: 50,
        ..small.clone()
    };
    let dull = MotionValues {
        sensitivity: 1,
        ..small.clone()
    };
    let keen = MotionValues {
        sensitivity: 100,
        ..small.clone()
    };
    let table = [
        (&small, 6, 90, false),
        (&small, 60, 90, true),
        (&large, 60, 90, false),
        (&large, 180, 90, true),
        (&dull, 60, 12, false),
        (&keen, 60, 12, true),
    ];
    for (values, side, above, want) in table {
        let mut camera = Camera::watching(values.clone());
        let mut picture = street();
        for line in picture.chunks_exact_mut(WIDTH).skip(200).take(side) {
            for pixel in &mut line[300..300 + side] {
                *pixel += above;
            }
        }
        let scenes: Vec<_> = (0..5).map(|_| camera.see(&picture)).collect();
        let found = scenes[4] == Scene::Moving;
        assert_eq!(found, want, "{values:?}, {side} pixels, {above} brighter");
    }
}

/// From so many pictures after the last change on nothing is called motion: until it is still, and until the three
/// of five are gone.
const OVER_AFTER: usize = (STILL_AFTER_MS / PICTURE_INTERVAL_MS) as usize + 3;

#[test]
fn what_was_put_down_becomes_background() {
    let mut camera = Camera::watching(MotionValues::default());
    let mut picture = street();
    put(&mut picture, 300, 300, 60, 60, 220);
    let scenes: Vec<_> = (0..60).map(|_| camera.see(&picture)).collect();
    assert_eq!(scenes[2], Scene::Moving);
    assert_eq!(scenes[OVER_AFTER..], vec![Scene::Still; 60 - OVER_AFTER]);
    // And is missed when it is taken away.
    let scenes: Vec<_> = (0..60).map(|_| camera.see(&street())).collect();
    assert_eq!(scenes[2], Scene::Moving);
    assert_eq!(scenes[OVER_AFTER..], vec![Scene::Still; 60 - OVER_AFTER]);
}

#[test]
fn who_stood_there_when_the_scene_was_learned_leaves_no_ghost_and_is_none_where_they_stop() {
    let somebody = |left: usize| {
        let mut picture = street();
        put(&mut picture, left, 200, 60, 120, 20);
        picture
    };
    let mut noise = Noise(11);
    for noisy in [false, true] {
        let mut see = |camera: &mut Camera, left: usize| {
            let mut picture = somebody(left);
            if noisy {
                noise.onto(&mut picture, 12);
            }
            camera.see(&picture)
        };
        let mut camera = Camera::new(MotionValues::default());
        for _ in 0..20 {
            assert_ne!(see(&mut camera, 100), Scene::Moving);
        }
        let scenes: Vec<_> = (1..=20)
            .map(|step| see(&mut camera, 100 + 12 * step))
            .collect();
        assert_eq!(scenes[3..], [Scene::Moving; 17]);
        let scenes: Vec<_> = (0..60).map(|_| see(&mut camera, 340)).collect();
        assert_eq!(scenes[OVER_AFTER..], vec![Scene::Still; 60 - OVER_AFTER]);
        // They are not blind for who goes on.
        let scenes: Vec<_> = (1..=5)
            .map(|step| see(&mut camera, 340 + 12 * step))
            .collect();
        assert_eq!(scenes[4], Scene::Moving, "{noisy}");
    }
}

#[test]
fn who_creeps_moves_all_the_time_and_who_stands_behind_them_does_not() {
    let mut camera = Camera::watching(MotionValues::default());
    let mut last = Scene::Still;
    for step in 0..100 {
        // A third of a cell a picture, of one colour: only the edges change.
        let mut picture = street();
        put(&mut picture, 300, 100, 60, 60, 220);
        put(&mut picture, 100 + 2 * step, 200, 90, 150, 20);
        let verdict = camera.look(&picture);
        last = verdict.scene;
        if step >= 10 {
            assert_eq!(last, Scene::Moving, "{step}");
        }
        // What was put down above is in no region any more.
        if step >= OVER_AFTER {
            assert!(
                verdict.regions.iter().all(|region| region.top > 300),
                "{step}"
            );
        }
    }
    assert_eq!(last, Scene::Moving);
}

/// Every pixel times so many percent, as a camera's gain does it.
fn gained(mut picture: Vec<u8>, percent: u32) -> Vec<u8> {
    for pixel in &mut picture {
        *pixel = (u32::from(*pixel) * percent / 100).min(255) as u8;
    }
    picture
}

#[test]
fn a_gain_is_no_motion_however_large_it_is_and_however_it_comes() {
    let jump = |percent| vec![percent; 40];
    let there_and_back = [jump(160), jump(100), jump(125), jump(90)].concat();
    let ramp: Vec<u32> = (0..40)
        .map(|step| 100 + 2 * step)
        .chain((0..40).map(|step| 178 - 3 * step))
        .collect();
    let flicker: Vec<u32> = (0..60)
        .map(|step| if step % 3 == 0 { 112 } else { 100 })
        .collect();
    let jumps = [70, 88, 90, 110, 112, 115, 130, 170].map(jump);
    for percents in [there_and_back, ramp, flicker].into_iter().chain(jumps) {
        let mut camera = Camera::watching(MotionValues {
            // No light is switched: this alone must do.
            light_switch_percent: 100,
            ..MotionValues::default()
        });
        for percent in percents {
            let verdict = camera.look(&gained(street(), percent));
            assert_eq!(
                (verdict.scene, verdict.regions),
                (Scene::Still, &[][..]),
                "{percent}"
            );
        }
    }
    // With the light switch as it is, it is at most learned.
    for percent in [60, 88, 112, 170] {
        let mut camera = Camera::watching(MotionValues::default());
        for _ in 0..40 {
            assert_ne!(
                camera.see(&gained(street(), percent)),
                Scene::Moving,
                "{percent}"
            );
        }
    }
}

#[test]
fn who_walks_while_the_gain_changes_is_found() {
    let mut camera = Camera::watching(MotionValues::default());
    let mut scenes = Vec::new();
    for step in 0..10 {
        let mut picture = street();
        put(&mut picture, 100 + 20 * step, 200, 40, 100, 20);
        scenes.push(camera.see(&gained(picture, 106 - step as u32 % 3)));
    }
    assert_eq!(scenes[2..], [Scene::Moving; 8]);
}

#[test]
fn a_gain_beside_a_mask_is_no_motion() {
    let mut camera = Camera::watching(MotionValues {
        masks: vec![left_half()],
        ..MotionValues::default()
    });
    for percent in [112, 125, 90] {
        for _ in 0..20 {
            assert_ne!(
                camera.see(&gained(street(), percent)),
                Scene::Moving,
                "{percent}"
            );
        }
    }
}

#[test]
fn one_picture_that_differs_is_nothing_but_rare_ones_count_for_those_between() {
    let mut camera = Camera::watching(MotionValues::default());
    let mut picture = street();
    put(&mut picture, 300, 300, 60, 100, 20);
    assert_eq!(camera.see(&picture), Scene::Still);
    assert_eq!(camera.see(&street()), Scene::Still);
    for _ in 0..4 {
        camera.see(&street());
    }
    camera.interval_ms = 1_000;
    assert_eq!(camera.see(&picture), Scene::Still);
    assert_eq!(camera.see(&picture), Scene::Moving);
}

/// Key frames alone, of a camera that has one in ten seconds.
const FAR_APART_MS: u64 = 10_000;

#[test]
fn who_is_in_one_of_pictures_that_are_far_apart_is_found_in_it() {
    for interval_ms in [RARE_MS, FAR_APART_MS] {
        let mut camera = Camera::watching(MotionValues::default());
        camera.interval_ms = interval_ms;
        assert_eq!(camera.see(&street()), Scene::Still);
        let mut picture = street();
        put(&mut picture, 300, 300, 60, 100, 20);
        assert_eq!(camera.see(&picture), Scene::Moving);
        // They have stopped, and then they have gone.
        assert_eq!(camera.see(&picture), Scene::Still);
        for left in [100, 400] {
            let mut picture = street();
            put(&mut picture, left, 300, 60, 100, 20);
            assert_eq!(camera.see(&picture), Scene::Moving, "{left}");
        }
    }
}

#[test]
fn of_pictures_that_are_far_apart_one_is_enough_for_motion_alone() {
    let far_apart = |values| {
        let mut camera = Camera::watching(values);
        camera.interval_ms = FAR_APART_MS;
        camera
    };
    let mut camera = far_apart(MotionValues::default());
    let mut noise = Noise(7);
    for index in 0..40 {
        let mut picture = street();
        if index >= 10 {
            noise.onto(&mut picture, 16);
        }
        assert_eq!(camera.see(&picture), Scene::Still, "{index}");
    }
    // A gain, by itself.
    let mut camera = far_apart(MotionValues {
        light_switch_percent: 100,
        ..MotionValues::default()
    });
    for percent in [160, 100, 125, 90] {
        for _ in 0..40 {
            let scene = camera.see(&gained(street(), percent));
            assert_eq!(scene, Scene::Still, "{percent}");
        }
    }
    // A light that is switched.
    for brighter in [80_i16, -50] {
        let mut camera = far_apart(MotionValues::default());
        let mut picture = street();
        for pixel in &mut picture {
            *pixel = (i16::from(*pixel) + brighter).clamp(0, 255) as u8;
        }
        for index in 0..20 {
            assert_ne!(camera.see(&picture), Scene::Moving, "{brighter} {index}");
        }
    }
}

#[test]
fn another_size_or_a_restart_begins_anew() {
    let mut camera = Camera::watching(MotionValues::default());
    let small = vec![100; 64 * 48];
    let luma = Luma::new(64, 48, 64, &small).unwrap();
    let verdict = camera.detector.handle_picture(luma, 0);
    assert_eq!(verdict.scene, Scene::Calibrating);
    camera.detector.restart();
    assert_eq!(camera.see(&street()), Scene::Calibrating);
}

#[test]
fn a_hub_that_starts_amid_motion_does_not_stay_blind() {
    let mut camera = Camera::new(MotionValues::default());
    let mut noise = Noise(3);
    let mut scenes = Vec::new();
    for _ in 0..=CALIBRATION_PICTURES_MAX {
        // Boxes all over the place, each time elsewhere.
        let mut picture = street();
        for _ in 0..6 {
            let (left, top) = (noise.number() % 700, noise.number() % 500);
            put(&mut picture, left as usize, top as usize, 60, 60, 150);
        }
        scenes.push(camera.see(&picture));
    }
    assert_eq!(
        scenes[CALIBRATION_PICTURES_MAX as usize - 1],
        Scene::Calibrating
    );
    assert_eq!(
        scenes[CALIBRATION_PICTURES_MAX as usize],
        Scene::Calibrating
    );
    let picture = street();
    assert_ne!(camera.see(&picture), Scene::Calibrating);
}

#[test]
fn nothing_is_motion_where_all_is_masked() {
    let mut camera = Camera::watching(MotionValues {
        masks: vec![polygon(&[(0, 0), (1000, 0), (1000, 1000), (0, 1000)])],
        ..MotionValues::default()
    });
    assert_eq!(camera.see_walk(100, 200), None);
}

#[test]
fn other_settings_leave_the_scene_known_and_other_masks_do_not() {
    let set = |camera: &mut Camera, values| {
        let settings = MotionSettings::new(values).unwrap();
        camera.detector.handle_settings(settings);
    };
    let mut camera = Camera::watching(MotionValues::default());
    set(
        &mut camera,
        MotionValues {
            sensitivity: 60,
            ..MotionValues::default()
        },
    );
    assert_eq!(camera.see(&street()), Scene::Still);
    assert!(camera.see_walk(100, 200).is_some());
    // A zone elsewhere, from the next picture on.
    let mut camera = Camera::watching(MotionValues::default());
    let zones = vec![Zone {
        name: "corner".into(),
        polygon: polygon(&[(900, 900), (1000, 900), (1000, 1000)]),
    }];
    set(
        &mut camera,
        MotionValues {
            zones,
            ..MotionValues::default()
        },
    );
    assert_eq!(camera.see(&street()), Scene::Still);
    assert_eq!(camera.see_walk(100, 200), None);
    // What is smaller than the new minimum is nothing.
    let mut camera = Camera::watching(MotionValues::default());
    set(
        &mut camera,
        MotionValues {
            min_area_permille: 500,
            ..MotionValues::default()
        },
    );
    assert_eq!(camera.see_walk(100, 200), None);
    let masks = vec![polygon(&[(0, 0), (1000, 0), (1000, 120)])];
    set(
        &mut camera,
        MotionValues {
            masks,
            ..MotionValues::default()
        },
    );
    assert_eq!(camera.see(&street()), Scene::Calibrating);
}
